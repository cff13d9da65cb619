"""The conductor's verbs. They read and write ids, statuses and times, never a company's data."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.contract.caps import ALWAYS
from reconciler.contract.claimed import (
    GROUP_SIZES,
    LIMIT,
    NO_LIMIT,
    Chunk,
    Expired,
    Room,
    Throttle,
    Verdict,
    per_row,
    row_arrays,
    verdict_arrays,
)
from reconciler.contract.column_types import SCHEMA_REVISION, storable_text
from reconciler.contract.database import Connection, Database
from reconciler.contract.errors import NoPolling
from reconciler.contract.grants import CONDUCTOR
from reconciler.contract.limits import LONGEST_S, MARGIN_S
from reconciler.contract.purchases import fence_orders, place_orders
from reconciler.contract.secrets import redacted
from reconciler.contract.sql import claim, dispatch, limits, loop, orders
from reconciler.contract.sql import tick as queries
from reconciler.contract.states import Status

CANCEL_LIMIT = 1000  # calls per tick
FEW_CALLS = 100  # at least so many calls may wait on Modal, even if max_in_flight is small
TICKS_KEPT = timedelta(days=7)
CALLS_KEPT = timedelta(seconds=LONGEST_S + MARGIN_S)
RESOLVE_AFTER_S = 30.0  # each look would else read all calls under way
BY_THE_SECOND = timedelta(hours=1)  # older progress is summed per minute


@dataclass(frozen=True)
class Intervals:
    """The row of `polling`, read at `now` (Postgres's clock); intervals are in seconds.

    `busy`: at least one batch is running and not paused.
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
    """Which verbs have work: leases to reap, ended rows to advance, calls to cancel, PENDING
    rows to claim, batches to finish, rows to take from worker hosts that are gone, orders to
    book, orders that nobody may wait for any more."""

    expired: bool
    to_advance: bool
    calls_to_cancel: bool
    pending: bool
    ended: bool
    orphaned: bool
    to_settle: bool = False
    left_open: bool = False


Judge = Callable[[Expired], Verdict]


def claim_values(now: datetime, room: Room = NO_LIMIT) -> dict[str, Any]:
    """The parameters of the claim."""
    return {
        "now": now,
        "limit": LIMIT,
        "few_calls": FEW_CALLS,
        "holder": room.holder,
        "group_sizes": list(GROUP_SIZES),
        "room_steps": list(room.rows),
        "room_rows": list(room.rows.values()),
        "today": now.astimezone(UTC).date(),
    }


def holder_values(room: Room) -> dict[str, Any]:
    """The parameters that tell rows of hosts that are gone: none are, where no host is known."""
    return {
        "family": room.family and f"{room.family}%",
        "alive": list(room.alive),
        "gone": list(room.gone),
    }


class Store(Database):
    """The database, as the conductor uses it."""

    role = CONDUCTOR

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See `Database.transaction`; Postgres ends it if the program goes silent in it."""
        with super().transaction() as connection:
            connection.execute(queries.SILENCE_LIMIT)
            yield connection

    def now(self) -> datetime:
        """The time by Postgres's clock: all decisions use this clock."""
        now: datetime = self.rows("SELECT now() AS now")[0]["now"]
        return now

    def beat(self) -> Intervals:
        """Write the time of this tick; returns the clock and the intervals.

        Raises:
            WrongSchema: the schema has another revision than this code: it was migrated since.
            NoPolling: the row of `polling` was deleted.
        """
        found = self.rows(loop.BEAT, revision=SCHEMA_REVISION)
        if not found:
            self.check_revision()
            raise NoPolling
        return Intervals(**found[0])

    def take_over(self) -> int:
        """Become the newest loop; returns its generation, 0 if `polling` has no row."""
        found = self.rows(loop.TAKE_OVER)
        return found[0]["generation"] if found else 0

    def due(self, now: datetime, room: Room = NO_LIMIT) -> Due:
        """Which verbs have work at `now`: one statement."""
        values = {**holder_values(room), "resolve_after_s": RESOLVE_AFTER_S}
        return Due(**self.rows(queries.DUE, now=now, **values)[0])

    def reap(self, now: datetime, judge: Judge) -> tuple[int, int]:
        """Let `judge` decide on each row whose lease ended by `now`; returns (retried, failed)."""
        with self.transaction() as connection:
            found = connection.execute(queries.EXPIRED, {"now": now, "limit": LIMIT}).fetchall()
            if not found:
                return 0, 0
            rows = [Expired(**{**row, "status": Status(row["status"])}) for row in found]
            rows = fence_orders(connection, rows)
            verdicts = [judge(row) for row in rows]
            values = {"now": now, **verdict_arrays(rows, verdicts)}
            moved = connection.execute(queries.REAP, values).fetchall()[0]
        return moved["retried"], moved["failed"]

    def advance(self, now: datetime) -> int:
        """Seed the next step of every row that has newly ended to go on; returns their number."""
        count: int = self.rows(queries.ADVANCE, now=now, limit=LIMIT)[0]["count"]
        return count

    def claim(self, now: datetime, room: Room = NO_LIMIT) -> list[Chunk]:
        """Take as many PENDING rows as the capacities and the workers' room allow.

        Returns them in chunks, now QUEUED.
        """
        with self.transaction() as connection:
            connection.execute(claim.CLAIM_TURN)
            found = connection.execute(claim.CLAIM, claim_values(now, room)).fetchall()
            chunks = [Chunk(**row) for row in found]
            buying = [chunk for chunk in chunks if chunk.has_orders]
            if not buying:
                return chunks
            placed = place_orders(connection, buying, now)
        return [*(chunk for chunk in chunks if not chunk.has_orders), *placed]

    def resolve(self, now: datetime, *, after_s: float = RESOLVE_AFTER_S) -> int:
        """Give back orders that nobody is about to send; note which have an unknown outcome.

        Only those that were made more than `after_s` seconds ago. Returns their number.
        """
        with self.transaction() as connection:
            connection.execute(claim.CLAIM_TURN)
            values = {"now": now, "after_s": after_s, "limit": LIMIT}
            return len(connection.execute(orders.RESOLVE.encode(), values).fetchall())

    def settle(self, now: datetime) -> int:
        """Book what orders cost, where that is decided or has changed; returns their number."""
        with self.transaction() as connection:
            connection.execute(claim.CLAIM_TURN)  # the order in which caps are locked
            values = {"now": now, "limit": LIMIT, "always": ALWAYS}
            row = connection.execute(orders.SETTLE.encode(), values).fetchone()
        return row["count"] if row else 0

    def record_calls(self, chunks: Sequence[Chunk], call_ids: Sequence[str]) -> None:
        """Write each row's call; `call_ids` has one per chunk."""
        if chunks:
            self.rows(
                dispatch.RECORD_CALLS, **row_arrays(chunks), call_ids=per_row(chunks, call_ids)
            )

    def release(
        self, chunks: Sequence[Chunk], available: Sequence[datetime], errors: Sequence[str]
    ) -> int:
        """Put the rows of refused chunks back to PENDING, their attempt refunded.

        `available` has the time of the next claim per chunk, `errors` the reason per chunk.
        Returns the number of rows.
        """
        if not chunks:
            return 0
        return len(
            self.rows(
                dispatch.RELEASE,
                **row_arrays(chunks),
                available=per_row(chunks, available),
                errors=per_row(chunks, [storable_text(redacted(error)) for error in errors]),
            )
        )

    def give_back(self, room: Room, now: datetime) -> int:
        """Take rows from holders that are gone; returns their number.

        What was QUEUED is PENDING again, its attempt refunded. What was IN_PROGRESS has no lease
        any more: the next reap judges it.
        """
        return len(self.rows(dispatch.GIVE_BACK, now=now, **holder_values(room)))

    def note_unknown(self, chunks: Sequence[Chunk], errors: Sequence[str]) -> int:
        """Write why a spawn's outcome is unknown, one reason per chunk; the rows stay QUEUED.

        Returns the number of rows.
        """
        if not chunks:
            return 0
        texts = [storable_text(redacted(error)) for error in errors]
        return len(
            self.rows(dispatch.NOTE_UNKNOWN, **row_arrays(chunks), errors=per_row(chunks, texts))
        )

    def throttle(self, throttles: Sequence[Throttle]) -> None:
        """Set or lift the throttles of steps."""
        if throttles:
            self.rows(
                dispatch.THROTTLE,
                steps=[throttle.step_name for throttle in throttles],
                until=[throttle.held_until for throttle in throttles],
                allowances=[throttle.allowance for throttle in throttles],
                refusals=[throttle.refusals for throttle in throttles],
                reasons=[storable_text(redacted(throttle.reason)) for throttle in throttles],
            )

    def calls_to_cancel(self) -> list[str]:
        """The ids of calls with cancelled rows and no row in flight, `CANCEL_LIMIT` at most."""
        return [row["call_id"] for row in self.rows(dispatch.CALLS_TO_CANCEL, limit=CANCEL_LIMIT)]

    def note_cancelled_calls(self, call_ids: Sequence[str]) -> None:
        """Note on their rows that these calls are cancelled."""
        if call_ids:
            self.rows(dispatch.CALLS_CANCELLED, call_ids=list(call_ids))

    def finish(self, now: datetime) -> list[int]:
        """Finish every batch whose rows are all terminal; returns the batches' ids."""
        with self.transaction() as connection:
            ended = [row["id"] for row in connection.execute(queries.ENDED.encode())]
            if not ended:
                return []
            finish = queries.FINISH.encode()
            moved = connection.execute(finish, {"now": now, "batch_ids": ended})
            return [row["id"] for row in moved]

    def record_tick(self, at: datetime, duration_ms: float, **counts: int) -> None:
        """Write what a tick did; `counts` are the columns of `ticks`."""
        self.rows(loop.RECORD_TICK, at=at, duration_ms=duration_ms, **counts)

    def prune(self, now: datetime) -> None:
        """Delete ticks older than `TICKS_KEPT`, and orders older than their providers' answers are
        kept, `LIMIT` at most; sum older progress (`BY_THE_SECOND`) per minute."""
        self.rows(loop.PRUNE_TICKS, before=now - TICKS_KEPT)
        self.rows(orders.PRUNE, now=now, limit=LIMIT)
        self.rows(limits.PRUNE_CALLS, before=now - CALLS_KEPT)
        self.rows(loop.FOLD, before=now - BY_THE_SECOND)
