"""The workers' statements for the tables of one step, and the arrays that name its attempts."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from psycopg import sql

from reconciler.contract.results import StepResult
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
def begin_statement(inputs: tuple[tuple[str, type[StepResult]], ...]) -> sql.Composed:
    """BEGIN, with the rows of these tables, by name."""
    parts: list[sql.Composable] = [sql.SQL(queries.BEGIN)]
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
    names = [c.name for c in description.columns if c.name != "written_at"]
    updated = [name for name in names if name != "company_id"]
    updates = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in updated]
    return sql.SQL(queries.COMPLETE).format(
        table=sql.Identifier(description.schema, description.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        updates=sql.SQL(", ").join([*updates, sql.SQL("written_at = excluded.written_at")]),
    )
