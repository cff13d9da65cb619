"""Whether a table in the database has what its class writes and reads."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.dialects import postgresql

from reconciler.contract.database import Row
from reconciler.contract.results import StepResult

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
# Types that hold each other's values, as far as a worker can know before it has one.
_ALIKE = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8", "numeric"), "number"),
    **dict.fromkeys(("varchar", "text", "bpchar", "name"), "text"),
    **dict.fromkeys(("json", "jsonb"), "JSON"),
}


def table_name(table: type[StepResult]) -> str:
    """The table's name with its schema, quoted where it has to be."""
    described = table.__table__  # type: ignore[attr-defined]
    return _DIALECT.identifier_preparer.format_table(described)


def wanted_columns(table: type[StepResult]) -> dict[str, str]:
    """The columns of a class, with their types as Postgres names them, without a collation."""
    columns: Iterable[Any] = table.__table__.columns  # type: ignore[attr-defined]
    named = {column.name: column.type.compile(dialect=_DIALECT) for column in columns}
    return {name: kind.partition(" COLLATE ")[0] for name, kind in named.items()}


def lacks(table: type[StepResult], rows: list[Row], *, whole: bool = True) -> str | None:
    """What of a table differs from its class; `rows` are those of `sql.holds.COLUMNS`.

    Not `whole`: only columns that are wanted and not there.
    """
    name = str(table.__table__)  # type: ignore[attr-defined]
    if not any(row["found"] for row in rows):
        return f"The table {name} is missing"
    for row in sorted(rows, key=lambda row: str(row["name"])):
        column = f"{name}.{row['name']}"
        if not row["found"]:
            return f"The column {column} is missing"
        if not whole:
            continue
        if not row["wanted"]:
            if row["required"]:
                return (
                    f"The column {column} must not be null, and the step's class has no such field"
                )
        elif row["wanted_type"] and _alike(row["type"]) != _alike(row["wanted_type"]):
            return f"The column {column} is of type {row['type']}, and the step's class has another"
    return None


def _alike(kind: str) -> str:
    return _ALIKE.get(kind, kind)
