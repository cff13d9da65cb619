"""The operator's verbs: seed, look, tune. The command line is their only caller."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from reconciler.contract import progress
from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.queries import views
from reconciler.contract.queries.progress import COUNTS
from reconciler.contract.seeding import Seeded, SeedRow, seed_batch
from reconciler.contract.steer import BatchView, Steering

EXPORT_ROWS = 2000  # fetched at a time


class OperatorStore(Steering):
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
                return seed_batch(connection, rows, name, blueprint, columns, priority, begun)
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
            names = [row["name"] for row in self.rows(views.BATCH_NAMES)]
            there = f"There are: {', '.join(names[:10])}." if names else "Seed one: `tracer seed`."
            raise BadInput(f"There is no batch {name!r}. {there}")
        return BatchView(**found[0])

    def batches(self) -> list[Row]:
        """Every batch with its counts of companies and rows."""
        counted: dict[int, list[Row]] = {}
        for row in self.rows(COUNTS, batch_id=None, window=progress.RATE_WINDOW):
            counted.setdefault(row["batch_id"], []).append(row)
        found = {row.pop("id"): row for row in self.rows(views.BATCHES, batch_ids=list(counted))}
        return [row | progress.totals(counted[batch_id]) for batch_id, row in found.items()]

    def progress(self, batch: BatchView, failures: int = 20) -> Row:
        """What `inspect --json` prints: counts per step, failures by reason, rate and ETA."""
        counted = self.rows(COUNTS, batch_id=batch.id, window=progress.RATE_WINDOW)
        steps = [progress.by_status(step) for step in counted]
        rate = progress.rate(batch, counted)
        left = progress.left(batch.companies, steps)
        return {
            "batch": batch.name,
            "name": batch.name,
            "status": batch.status,
            "companies": batch.companies,
            "steps": steps,
            "failures": self.rows(views.FAILURES, batch_id=batch.id, limit=failures),
            "rate_per_s": round(rate, 2),
            "eta_s": 0 if batch.finished_at else round(left / rate) if rate else None,
        }

    def timeline(self, batch: BatchView, key: str) -> tuple[Row, list[Row]]:
        """A company, and its rows in the batch in the order of the blueprint.

        Raises:
            BadInput: the batch has no such company.
        """
        found = self.rows(views.COMPANY, key=key)
        rows = (
            self.rows(views.TIMELINE, batch_id=batch.id, company_id=found[0]["id"]) if found else []
        )
        if not rows:
            raise BadInput(f"Batch {batch.name!r} has no company with the key {key!r}.")
        return found[0], rows

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
                        raise BadInput(f"There is no step {step!r}: see `tracer steps`.")
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise BadInput(f"{step}: {str(error).splitlines()[0]}.") from error

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

    def polling(self) -> Row:
        """Both intervals in seconds, whether polling is paused, and when it last ticked."""
        return self.rows(views.POLLING)[0]

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
        """
        values = {
            "poll_s": poll_s,
            "idle_s": idle_s,
            "every_s": every_s,
            "paused": paused,
            "latency_target_s": latency_target_s,
        }
        try:
            self.rows(views.SET_POLLING, **values)
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
