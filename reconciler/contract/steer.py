"""The operator's verbs that move a batch's rows, and why a row is where it is."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg

from reconciler.contract.database import Database
from reconciler.contract.errors import BadInput
from reconciler.contract.explain import Facts
from reconciler.contract.queries import steer
from reconciler.contract.queries.roles import OPERATOR

DEADLOCKS = 5  # that an operator's verb gets over


@dataclass(frozen=True)
class BatchView:
    """A batch as it was seeded, and where it is; `now` is Postgres's clock when it was read."""

    id: int
    name: str
    blueprint: list[str]
    columns: list[str]
    status: str
    priority: int
    paused: bool
    created_at: datetime
    finished_at: datetime | None
    companies: int
    now: datetime


class Steering(Database):
    """What an operator does to a batch; each holds from the next tick."""

    role = OPERATOR

    def facts(self, batch: BatchView, key: str) -> Facts:
        """All that can explain where a company is in the batch.

        Raises:
            BadInput: the batch has no such company.
        """
        found = self.rows(steer.EXPLAIN, batch_id=batch.id, key=key)
        if not found:
            raise BadInput(f"Batch {batch.name!r} has no company with the key {key!r}.")
        return Facts(**found[0])

    def count_failed(
        self, batch: BatchView, step: str | None = None, error: str | None = None
    ) -> int:
        """How many rows `retry` would move."""
        values = {"batch_id": batch.id, "step": step, "error": error}
        rows: int = self.rows(steer.COUNT_FAILED, **values)[0]["rows"]
        return rows

    def retry(self, batch: BatchView, step: str | None = None, error: str | None = None) -> int:
        """Give FAILED rows all their attempts again: of one step, with this text in their error.

        Raises:
            BadInput: the batch was cancelled.
        """
        values = {"batch_id": batch.id, "step": step, "error": error}
        with self.transaction() as connection:
            if not connection.execute(steer.REOPEN_BATCH, values).rowcount:
                raise BadInput(f"Batch {batch.name!r} was cancelled: seed it again.")
            row = connection.execute(steer.RETRY.encode(), values).fetchone()
            if row and row["rows"]:
                return int(row["rows"])
            raise psycopg.Rollback  # nothing to do: a batch that has finished stays so
        return 0

    def pause(self, batch: BatchView, paused: bool = True) -> None:
        """Claim no more of the batch, or do so again; what is in flight goes on.

        Raises:
            BadInput: the batch has ended.
        """
        with self.transaction() as connection:
            values = {"batch_id": batch.id, "paused": paused}
            if not connection.execute(steer.PAUSE, values).rowcount:
                raise BadInput(f"Batch {batch.name!r} has ended already.")

    def cancel(self, batch: BatchView) -> int:
        """End the batch and every row of it that has not ended; returns how many those were.

        Raises:
            BadInput: the batch has ended.
        """
        return self._in_turn(lambda: self._cancel(batch))

    def _cancel(self, batch: BatchView) -> int:
        values = {"batch_id": batch.id}
        with self.transaction() as connection:
            if not connection.execute(steer.CANCEL_BATCH, values).rowcount:
                raise BadInput(f"Batch {batch.name!r} has ended already.")
            cancelled = connection.execute(steer.CANCEL, values).rowcount
            connection.execute(steer.CANCEL_ADVANCE, values)
            return cancelled

    def _in_turn(self, verb: Callable[[], int]) -> int:
        """Do it, again where workers took the rows in another order and Postgres ended this one."""
        for _ in range(DEADLOCKS):
            with suppress(psycopg.errors.DeadlockDetected):
                return verb()
        return verb()
