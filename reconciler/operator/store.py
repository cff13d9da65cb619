"""The operator's verbs: seed, look, tune. The command line is their only caller."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput, NoPolling, WorkFailed, nearest
from reconciler.operator.diagnosis.read import Explaining
from reconciler.operator.seeding.batch import Seeded, SeedRow, seed_batch
from reconciler.operator.sql import views
from reconciler.operator.steering import BatchView, Steering
from reconciler.operator.views import Looking

EXPORT_ROWS = 2000  # fetched at a time


class OperatorStore(Looking, Explaining, Steering):
    """The brain as the operator sees it."""

    def seed(
        self,
        rows: Iterable[SeedRow],
        *,
        name: str,
        blueprint: Sequence[str],
        columns: Sequence[str],
        priority: int = 0,
        begun: Callable[[str], None] = lambda _: None,
    ) -> Seeded:
        """Bring a batch in, whole or not at all; `columns` may still grow while `rows` are read.

        `begun` is told what Postgres does next, once `rows` are read.

        Raises:
            BadInput: there is no row to seed.
            WorkFailed: the database refused the rows.
        """
        try:
            with self.transaction() as connection:
                given = (name, blueprint, columns, priority, begun)
                return seed_batch(connection, rows, *given, self.who)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            reason = str(error).splitlines()[0]
            raise WorkFailed(f"Nothing was seeded: the database refused it: {reason}.") from error

    def batch(self, name: str) -> BatchView:
        """The batch of that name.

        Raises:
            BadInput: there is none; the message lists those that there are.
        """
        found = self.rows(views.BATCH_BY_NAME, name=name)
        if not found:
            names = self.batch_names()
            there = f"There are: {', '.join(names[:10])}." if names else "Seed one: `tracer seed`."
            raise BadInput(f"There is no batch {name!r}.{nearest(name, names) or f' {there}'}")
        return BatchView(**found[0])

    def batch_names(self) -> list[str]:
        """The names of all batches, the newest first."""
        return [row["name"] for row in self.rows(views.BATCH_NAMES)]

    def steps(self) -> list[Row]:
        """The registry."""
        return self.rows(views.STEPS)

    def set_step(self, step: str, values: Mapping[str, Any]) -> None:
        """Change registry columns of one step, all or none.

        Raises:
            BadInput: there is no such step, or a value breaks a rule of its column.
        """
        try:
            with self.transaction() as connection:
                for column, value in values.items():
                    query = sql.SQL(views.SET_STEP).format(column=sql.Identifier(column))
                    if not connection.execute(query, {"value": value, "step": step}).rowcount:
                        raise BadInput(f"There is no step {step!r}.{self._other_steps(step)}")
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise BadInput(f"{step}: {str(error).splitlines()[0]}.") from error

    def _other_steps(self, step: str) -> str:
        return nearest(step, (row["step_name"] for row in self.steps())) or " See `tracer steps`."

    def sync_step(self, step: str, app: str, settings: Mapping[str, Any]) -> None:
        """Register a step, or its new place. Tuned values stay."""
        names = list(settings)
        query = sql.SQL(views.SYNC_STEP).format(
            columns=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(n)) for n in names),
            values=sql.SQL("").join(sql.SQL(", {}").format(sql.Placeholder(n)) for n in names),
        )
        place = {"step_name": step, "app_name": app, "function_name": step}
        with self.transaction() as connection:
            connection.execute(query, {**settings, **place})

    def set_polling(
        self,
        poll_s: float | None = None,
        idle_s: float | None = None,
        every_s: float | None = None,
        paused: bool | None = None,
        latency_target_s: float | None = None,
    ) -> None:
        """Change what is given; the next tick reads it.

        Raises:
            BadInput: an interval is not above 0, or the idle interval is below the poll interval.
            NoPolling: somebody has deleted the row.
        """
        values = {
            "poll_s": poll_s,
            "idle_s": idle_s,
            "every_s": every_s,
            "paused": paused,
            "latency_target_s": latency_target_s,
        }
        try:
            if not self.rows(views.SET_POLLING, **values):
                raise NoPolling
        except psycopg.IntegrityError as error:
            raise BadInput(
                "Intervals are above 0 s, and the idle interval is not below the poll interval."
            ) from error

    def export(self, batch: BatchView, tables: Mapping[str, tuple[str, str]]) -> Iterator[Row]:
        """One row per company of the batch, streamed; `tables` names each step's (schema, table).

        Each has key, name, domain, attributes, and per step `STEP.status` and `STEP.result`.
        """
        parts = [_export_step(i, step, *tables[step]) for i, step in enumerate(batch.blueprint)]
        query = sql.SQL(views.EXPORT).format(
            fields=sql.SQL("").join(fields for fields, _ in parts),
            results=sql.SQL("").join(join for _, join in parts),
        )
        with self.transaction() as connection, connection.cursor("export") as cursor:
            cursor.itersize = EXPORT_ROWS
            cursor.execute(query, {"batch_id": batch.id})
            yield from cursor


def _export_step(
    number: int, step: str, schema: str, table: str
) -> tuple[sql.Composed, sql.Composed]:
    state, result = sql.Identifier(f"s{number}"), sql.Identifier(f"r{number}")
    fields = sql.SQL(views.EXPORT_FIELDS).format(
        state=state,
        result=result,
        status_name=sql.Identifier(f"{step}.status"),
        result_name=sql.Identifier(f"{step}.result"),
    )
    join = sql.SQL(views.EXPORT_JOIN).format(
        state=state, result=result, step=sql.Literal(step), table=sql.Identifier(schema, table)
    )
    return fields, join
