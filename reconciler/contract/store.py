"""The conductor's verbs: what a tick reads and writes. It sees ids and statuses, nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.contract.database import Database, Row
from reconciler.contract.queries import dispatch
from reconciler.contract.queries import tick as queries
from reconciler.contract.queries.roles import CONDUCTOR
from reconciler.contract.states import Status

# Rows per verb and tick. Chunks of 10,000 give 11,300 company-steps a second, of 1,000 7,900; and a
# bound keeps each transaction short. A tick that reaches it is followed by the next one at once.
LIMIT = 10_000
RECALL_LIMIT = 1000  # calls per tick
TICKS_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Polling:
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
class Chunk:
    """Claimed rows of one step, to be spawned as one call; the three lists run in parallel.

    `max_waiting` is how many full calls the step's whole budget makes. `allowance` and `refusals`
    are of its throttle (see `Pace`), None and 0 where it has none.
    """

    step_name: str
    app_name: str
    function_name: str
    chunk_size: int
    backoff_s: float
    backoff_max_s: float
    max_waiting: int
    allowance: int | None
    refusals: int
    company_ids: list[int]
    batch_ids: list[int]
    attempts: list[int]


@dataclass(frozen=True)
class Pace:
    """How fast a step may claim: nothing until `held_until`, then `allowance` rows a tick.

    Without an allowance its throttle is taken away. `refusals` counts dispatches in a row of which
    nothing was taken.
    """

    step_name: str
    held_until: datetime
    allowance: int | None
    refusals: int
    reason: str


@dataclass(frozen=True)
class Expired:
    """A row whose lease has run out, with what its step's settings say about retries."""

    company_id: int
    step_name: str
    batch_id: int
    attempt: int
    forgiven: int
    status: Status
    available_at: datetime
    error: str | None
    max_attempts: int
    backoff_s: float
    backoff_max_s: float


@dataclass(frozen=True)
class Verdict:
    """What becomes of an expired row: claimable from `available_at`, or FAILED where it is None."""

    available_at: datetime | None
    error: str


Judge = Callable[[Expired], Verdict]


def held(chunks: Sequence[Chunk]) -> dict[str, list[Any]]:
    """The rows of `chunks` as the parallel arrays by which a statement names held rows."""
    return {
        "company_ids": [i for c in chunks for i in c.company_ids],
        "steps": [c.step_name for c in chunks for _ in c.company_ids],
        "batch_ids": [i for c in chunks for i in c.batch_ids],
        "attempts": [i for c in chunks for i in c.attempts],
    }


def spread(chunks: Sequence[Chunk], values: Sequence[Any]) -> list[Any]:
    """One value per row from one per chunk."""
    return [v for c, v in zip(chunks, values, strict=True) for _ in c.company_ids]


class Store(Database):
    """The brain as a tick sees it."""

    role = CONDUCTOR

    def now(self) -> datetime:
        """Postgres's clock, the only one that decides anything."""
        now: datetime = self.rows("SELECT now() AS now")[0]["now"]
        return now

    def beat(self) -> Polling:
        """Leave a sign of life and read the clock and the intervals."""
        return Polling(**self.rows(queries.BEAT)[0])

    def take_over(self) -> int:
        """Become the newest loop; returns the generation that says so."""
        generation: int = self.rows(queries.TAKE_OVER)[0]["generation"]
        return generation

    def reap(self, now: datetime, judge: Judge) -> tuple[int, int]:
        """Let `judge` decide every row whose lease ended by `now`; returns (retried, buried)."""
        with self.transaction() as connection:
            found = connection.execute(queries.EXPIRED, {"now": now, "limit": LIMIT}).fetchall()
            if not found:
                return 0, 0
            rows = [Expired(**{**row, "status": Status(row["status"])}) for row in found]
            verdicts = [judge(row) for row in rows]
            moved = connection.execute(
                queries.REAP.encode(), {"now": now, **_judged(rows, verdicts)}
            ).fetchall()
        buried = sum(row["status"] == Status.FAILED for row in moved)
        return len(moved) - buried, buried

    def advance(self, now: datetime) -> int:
        """Seed the next step of every newly COMPLETED row; returns how many were COMPLETED."""
        count: int = self.rows(queries.ADVANCE, now=now, limit=LIMIT)[0]["count"]
        return count

    def claim(self, now: datetime) -> list[Chunk]:
        """Take what the budgets allow, PENDING to QUEUED, in chunks ready to spawn."""
        with self.transaction() as connection:
            connection.execute(queries.CLAIM_TURN)
            found = connection.execute(queries.CLAIM, {"now": now, "limit": LIMIT}).fetchall()
        return [Chunk(**row) for row in found]

    def record_calls(self, chunks: Sequence[Chunk], call_ids: Sequence[str]) -> None:
        """Write which call each row travels in; `call_ids` has one per chunk."""
        if chunks:
            self.rows(dispatch.RECORD_CALLS, **held(chunks), call_ids=spread(chunks, call_ids))

    def release(
        self, chunks: Sequence[Chunk], available: Sequence[datetime], errors: Sequence[str]
    ) -> int:
        """Put refused chunks back, the attempt refunded; one moment and reason per chunk."""
        if not chunks:
            return 0
        return len(
            self.rows(
                dispatch.RELEASE,
                **held(chunks),
                available=spread(chunks, available),
                errors=spread(chunks, errors),
            )
        )

    def note_unknown(self, chunks: Sequence[Chunk], errors: Sequence[str]) -> int:
        """Keep why the outcome of a spawn is not known; the rows stay QUEUED."""
        if not chunks:
            return 0
        return len(self.rows(dispatch.NOTE_UNKNOWN, **held(chunks), errors=spread(chunks, errors)))

    def throttle(self, paces: Sequence[Pace]) -> None:
        """Slow steps down, or let them go again."""
        if paces:
            self.rows(
                dispatch.THROTTLE,
                steps=[pace.step_name for pace in paces],
                until=[pace.held_until for pace in paces],
                allowances=[pace.allowance for pace in paces],
                refusals=[pace.refusals for pace in paces],
                reasons=[pace.reason for pace in paces],
            )

    def recallable(self) -> list[str]:
        """The calls, `RECALL_LIMIT` at most, that carry nothing but cancelled rows."""
        return [row["call_id"] for row in self.rows(dispatch.RECALLABLE, limit=RECALL_LIMIT)]

    def note_recalled(self, call_ids: Sequence[str]) -> None:
        """Keep that these calls are cancelled."""
        if call_ids:
            self.rows(dispatch.RECALLED, call_ids=list(call_ids))

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
        self.rows(queries.RECORD_TICK, at=at, duration_ms=duration_ms, **counts)

    def prune_ticks(self, now: datetime) -> None:
        """Forget ticks older than `TICKS_KEPT`."""
        self.rows(queries.PRUNE_TICKS, before=now - TICKS_KEPT)


def _judged(rows: Sequence[Expired], verdicts: Sequence[Verdict]) -> Row:
    return {
        "company_ids": [row.company_id for row in rows],
        "steps": [row.step_name for row in rows],
        "batch_ids": [row.batch_id for row in rows],
        "attempts": [row.attempt for row in rows],
        "available": [verdict.available_at for verdict in verdicts],
        "errors": [verdict.error for verdict in verdicts],
    }
