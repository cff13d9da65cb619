"""Makes the domain tables follow their models, by Alembic's comparison; drops nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import CreateIndexOp
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import BigInteger, Integer, create_engine, pool
from sqlalchemy import Connection as SqlConnection
from sqlalchemy.exc import IntegrityError, ProgrammingError

from reconciler.contract.column_types import SCHEMA_TURN
from reconciler.contract.database_url import libpq_url
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput
from reconciler.contract.results import RESULTS_SCHEMA, StepResult
from reconciler.contract.session import LIFT


class Misfit(BadInput):
    """A table differs from its model, and a person must change one of them."""


def refuse(fault: Misfit) -> None:
    """Change no table if one of them does not fit."""
    raise fault


def sync_tables(
    url: str,
    tables: Iterable[type[StepResult]],
    on_fault: Callable[[Misfit], object] = refuse,
) -> list[str]:
    """Create what is missing of `tables`, all or none; returns a line for each change.

    Those are tables, columns and indexes. A table or column that no model has any more stays: its
    results may have cost money. A column of integers is widened where its model asks for it. If
    `on_fault` returns, what does not fit is left as it is.

    Raises:
        BadInput: the role may not create them; or, by default, a column differs from its model in
            type or nullability, or a new column of a table with rows must not be null.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(libpq_url(url), client_encoding="utf8"),
        poolclass=pool.NullPool,
        isolation_level="READ COMMITTED",
    )
    lines = list[str]()
    with as_owner(url), engine.begin() as connection:
        connection.exec_driver_sql(LIFT)
        connection.exec_driver_sql(SCHEMA_TURN)
        context = MigrationContext.configure(connection, opts=COMPARISON | only(tables))
        operations = Operations(context)
        for change in _flat(compare_metadata(context, StepResult.metadata)):
            try:
                lines += _applied(connection, operations, change)
            except Misfit as fault:
                on_fault(fault)
    return lines


def _applied(
    connection: SqlConnection, operations: Operations, change: tuple[Any, ...]
) -> Iterator[str]:
    try:
        with connection.begin_nested():
            line = _apply(operations, change)
    except IntegrityError as error:
        reason = str(error.orig).splitlines()[0]
        raise Misfit(f"A new column cannot be added: {reason}. Let it be None.") from error
    if line:
        yield line


@contextmanager
def as_owner(url: str) -> Iterator[None]:
    """Turn "permission denied" into a clear error: the role of `url` may not change the schema.

    Raises:
        NotAllowed: Postgres has denied a statement of the block.
    """
    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        with explain_denial(str(conninfo_to_dict(libpq_url(url)).get("user") or "of this URL")):
            raise error.orig from error


def only(tables: Iterable[type[StepResult]]) -> dict[str, Any]:
    """The option with which a comparison looks at these tables alone."""
    names = {str(table.__tablename__) for table in tables}

    def include(_: Any, name: str | None, kind: str, *__: Any) -> bool:
        return kind != "table" or name in names

    return {"include_object": include}


def _in_results(name: str | None, kind: str, parents: Any) -> bool:
    schema = name if kind == "schema" else parents.get("schema_name")
    return schema == RESULTS_SCHEMA


COMPARISON = {"include_schemas": True, "include_name": _in_results, "compare_type": True}


def _flat(changes: list[Any]) -> Iterator[tuple[Any, ...]]:
    """All changes in one list: Alembic nests the changes of one column."""
    for change in changes:
        yield from change if isinstance(change, list) else [change]


def _apply(operations: Operations, change: tuple[Any, ...]) -> str | None:
    match change:
        case ("add_table", table):
            operations.create_table(table.name, *table.columns, schema=table.schema)
            return f"Table {table.fullname} created"
        case ("add_column", schema, table, column):
            operations.add_column(table, column, schema=schema)
            return f"Column {schema}.{table}.{column.name} added"
        case ("add_index", index):
            operations.invoke(CreateIndexOp.from_index(index))
            return f"Index {index.name} of {index.table.fullname} created"
        case ("modify_type", schema, table, column, _, Integer() as old, BigInteger() as new):
            operations.alter_column(table, column, schema=schema, type_=new, existing_type=old)
            return f"Column {schema}.{table}.{column} widened: {old} -> {new}"
        case (("modify_type" | "modify_nullable") as what, schema, table, column, _, old, new):
            raise Misfit(
                f"{schema}.{table}.{column}: {what.removeprefix('modify_')} is {old} in the "
                f"database and {new} in the step's model. Change one of them to match."
            )
    return None
