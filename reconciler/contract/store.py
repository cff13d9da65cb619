"""The conductor's verbs: what a tick reads and writes. It sees ids and statuses, nothing else."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.contract.claimed import (
    LIMIT,
    Chunk,
    Expired,
    Throttle,
    Verdict,
    judged,
    row_arrays,
    spread,
)
from reconciler.contract.column_types import SCHEMA_REVISION, kept_text
from reconciler.contract.database import Connection, Database
from reconciler.contract.errors import NoPolling
from reconciler.contract.grants import CONDUCTOR
from reconciler.contract.sql import claim, dispatch, loop
from reconciler.contract.sql import tick as queries
from reconciler.contract.states import Status

CANCEL_LIMIT = 1000  # calls per tick
FEW_CALLS = 100  # may always wait with the workers, however small the step's capacity is
TICKS_KEPT = timedelta(days=7)
BY_THE_SECOND = timedelta(hours=1)


@dataclass(frozen=True)
class Intervals:
    """The `polling` row and the moment (Postgres's clock) when it was read; intervals in seconds.

    `busy` says that some batch is running and not paused.
    """

    now: datetime
    poll_s: float
    idle_s: float
    every_s: float
    latency_target_s: float
    paused: bool
    generation: int
    changed_at: datetime
    ticked_at: datetime
    busy: bool


@dataclass(frozen=True)
class Due:
    """Which verbs have something to do: leases that are over, rows to advance, calls to cancel,
    rows that could be claimed, batches to finish."""

    expired: bool
    completed: bool
    calls_to_cancel: bool
    pending: bool
    ended: bool


Judge = Callable[[Expired], Verdict]


class Store(Database):
    """The brain as a tick sees it."""

    role = CONDUCTOR

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See `Database.transaction`; Postgres ends one that is silent for long."""
        with super().transaction() as connection:
            connection.execute(queries.SILENCE)
            yield connection

    def now(self) -> datetime:
        """Postgres's clock, the only one that decides anything."""
        now: datetime = self.rows("SELECT now() AS now")[0]["now"]
        return now

    def beat(self) -> Intervals:
        """Leave a sign of life and read the clock and the intervals.

        Raises:
            WrongSchema: it is not the one that this code knows: it was migrated meanwhile.
            NoPolling: somebody has deleted the row.
        """
        found = self.rows(loop.BEAT, revision=SCHEMA_REVISION)
        if not found:
            self.check_revision()
            raise NoPolling
        return Intervals(**found[0])

    def take_over(self) -> int:
        """Become the newest loop; returns the generation that says so, 0 where there is no row."""
        found = self.rows(loop.TAKE_OVER)
        return found[0]["generation"] if found else 0

    def due(self, now: datetime) -> Due:
        """Due for what the verbs would do at `now`, in one statement."""
        return Due(**self.rows(queries.DUE, now=now)[0])

    def reap(self, now: datetime, judge: Judge) -> tuple[int, int]:
        """Let `judge` decide every row whose lease ended by `now`; returns (retried, failed)."""
        with self.transaction() as connection:
            found = connection.execute(queries.EXPIRED, {"now": now, "limit": LIMIT}).fetchall()
            if not found:
                return 0, 0
            rows = [Expired(**{**row, "status": Status(row["status"])}) for row in found]
            verdicts = [judge(row) for row in rows]
            moved = connection.execute(
                queries.REAP.encode(), {"now": now, **judged(rows, verdicts)}
            ).fetchall()
        failed = sum(row["status"] == Status.FAILED for row in moved)
        return len(moved) - failed, failed

    def advance(self, now: datetime) -> int:
        """Seed the next step of every newly COMPLETED row; returns how many were COMPLETED."""
        count: int = self.rows(queries.ADVANCE, now=now, limit=LIMIT)[0]["count"]
        return count

    def claim(self, now: datetime) -> list[Chunk]:
        """Take what the capacities allow, PENDING to QUEUED, in chunks ready to spawn."""
        with self.transaction() as connection:
            connection.execute(claim.CLAIM_TURN)
            values = {"now": now, "limit": LIMIT, "few_calls": FEW_CALLS}
            found = connection.execute(claim.CLAIM, values).fetchall()
        return [Chunk(**row) for row in found]

    def record_calls(self, chunks: Sequence[Chunk], call_ids: Sequence[str]) -> None:
        """Write which call each row travels in; `call_ids` has one per chunk."""
        if chunks:
            self.rows(
                dispatch.RECORD_CALLS, **row_arrays(chunks), call_ids=spread(chunks, call_ids)
            )

    def release(
        self, chunks: Sequence[Chunk], available: Sequence[datetime], errors: Sequence[str]
    ) -> int:
        """Put refused chunks back, the attempt refunded; one moment and reason per chunk."""
        if not chunks:
            return 0
        return len(
            self.rows(
                dispatch.RELEASE,
                **row_arrays(chunks),
                available=spread(chunks, available),
                errors=spread(chunks, [kept_text(error) for error in errors]),
            )
        )

    def note_unknown(self, chunks: Sequence[Chunk], errors: Sequence[str]) -> int:
        """Keep why the outcome of a spawn is not known; the rows stay QUEUED."""
        if not chunks:
            return 0
        kept = [kept_text(error) for error in errors]
        return len(
            self.rows(dispatch.NOTE_UNKNOWN, **row_arrays(chunks), errors=spread(chunks, kept))
        )

    def throttle(self, throttles: Sequence[Throttle]) -> None:
        """Slow steps down, or let them go again."""
        if throttles:
            self.rows(
                dispatch.THROTTLE,
                steps=[throttle.step_name for throttle in throttles],
                until=[throttle.held_until for throttle in throttles],
                allowances=[throttle.allowance for throttle in throttles],
                refusals=[throttle.refusals for throttle in throttles],
                reasons=[kept_text(throttle.reason) for throttle in throttles],
            )

    def calls_to_cancel(self) -> list[str]:
        """The calls, `CANCEL_LIMIT` at most, that carry nothing but cancelled rows."""
        return [row["call_id"] for row in self.rows(dispatch.CALLS_TO_CANCEL, limit=CANCEL_LIMIT)]

    def note_cancelled_calls(self, call_ids: Sequence[str]) -> None:
        """Keep that these calls are cancelled."""
        if call_ids:
            self.rows(dispatch.CALLS_CANCELLED, call_ids=list(call_ids))

    def finish(self, now: datetime) -> list[int]:
        """End every batch whose rows are all terminal; returns their ids."""
        with self.transaction() as connection:
            ended = [row["id"] for row in connection.execute(queries.ENDED.encode())]
            if not ended:
                return []
            finish = queries.FINISH.encode()
            moved = connection.execute(finish, {"now": now, "batch_ids": ended})
            return [row["id"] for row in moved]

    def record_tick(self, at: datetime, duration_ms: float, **counts: int) -> None:
        """Keep what a tick did."""
        self.rows(loop.RECORD_TICK, at=at, duration_ms=duration_ms, **counts)

    def prune(self, now: datetime) -> None:
        """Forget ticks older than `TICKS_KEPT`, and keep progress older than `BY_THE_SECOND` by
        the minute."""
        self.rows(loop.PRUNE_TICKS, before=now - TICKS_KEPT)
        self.rows(loop.FOLD, before=now - BY_THE_SECOND)
