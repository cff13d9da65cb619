"""The workers' statements for the tables of one step, and the arrays that name its attempts."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from psycopg import sql

from reconciler.contract.fit import wanted_columns
from reconciler.contract.results import TRACERS, StepResult
from reconciler.contract.sql import buying
from reconciler.contract.sql import worker as queries

if TYPE_CHECKING:
    from reconciler.contract.worker_store import Attempt


def row_arrays(attempts: "Sequence[Attempt]") -> dict[str, str]:
    """The arrays of `held`, as Postgres writes them: psycopg takes 6 us for a row's four values.

    None of the values needs quotes: they are numbers and names of steps.
    """
    return {
        "company_ids": _array(a.company.id for a in attempts),
        "steps": _array(a.step_name for a in attempts),
        "batch_ids": _array(a.batch_id for a in attempts),
        "attempts": _array(a.attempt for a in attempts),
    }


def _array(values: Iterable[int | str]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


@cache
def begin_statement(
    inputs: tuple[tuple[str, type[StepResult]], ...], *, has_orders: bool
) -> sql.Composed:
    """BEGIN, with the rows of these tables, by name, and the orders if the step has any."""
    parts: list[sql.Composable] = [sql.SQL(queries.BEGIN)]
    if has_orders:
        parts.append(sql.SQL(buying.ORDER))
    for name, table in inputs:
        described = table.__table__  # type: ignore[attr-defined]
        parts.append(
            sql.SQL(queries.INPUT).format(
                table=sql.Identifier(described.schema, described.name),
                name=sql.Identifier(f"input {name}"),
            )
        )
    return sql.Composed(parts)


@cache
def complete_statement(table: type[StepResult]) -> sql.Composed:
    """COMPLETE for this table."""
    description = table.__table__  # type: ignore[attr-defined]
    own = [column.name for column in description.columns if column.name not in TRACERS]
    written = ["company_id", *own]
    updated = [*own, *(name for name in TRACERS if name != "company_id")]
    return sql.SQL(queries.COMPLETE).format(
        table=sql.Identifier(description.schema, description.name),
        name=sql.Literal(description.name),
        ours=sql.Literal(list(TRACERS)),
        typed=sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in wanted_columns(table).items()
            if name in written
        ),
        columns=_each("{}", written),
        new_columns=_each("(new).{}", written),
        updates=_each("{0} = excluded.{0}", updated),
        new_values=_values('"new row"', own),
        old_values=_values("there.old", own),
    )


def _each(form: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(form).format(sql.Identifier(name)) for name in names)


def _values(row: str, own: Sequence[str]) -> sql.Composable:
    """How many of a step's own columns have a value; a step without any has always found."""
    if not own:
        return sql.SQL("1")
    return sql.SQL("num_nonnulls({})").format(_each(f"({row}).{{}}", own))
