"""The tick, one pass over the state: the whole conductor on one screen."""

import random
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from time import perf_counter
from typing import Self

from reconciler import policy
from reconciler.contract.claimed import LIMIT
from reconciler.contract.store import Due, Store
from reconciler.dispatch import Dispatched, cancel_calls, count_rows, dispatch
from reconciler.spawners.protocol import Spawner


@dataclass(frozen=True)
class TickReport:
    """What a tick did: numbers of rows; `calls_cancelled` counts calls, `finished` batches.

    `faults`: why rows were released, or why their outcome is unknown.
    """

    retried: int
    failed: int
    advanced: int
    claimed: int
    spawned: int
    released: int
    unknown: int
    calls_cancelled: int
    finished: int
    faults: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the tick did anything."""
        return any(self.counts().values())

    def counts(self) -> dict[str, int]:
        """All numbers, by field."""
        named = asdict(self)
        del named["faults"]
        return named

    def with_late(self, late: Dispatched) -> Self:
        """This report plus the answers that came after the tick."""
        return replace(
            self,
            spawned=self.spawned + late.spawned,
            released=self.released + late.released,
            unknown=self.unknown + late.unknown,
            faults=(*self.faults, *late.faults),
        )

    @property
    def saturated(self) -> bool:
        """Whether a verb reached its limit of rows, so that more rows wait for it."""
        return max(self.retried + self.failed, self.advanced, self.claimed) >= LIMIT

    def __str__(self) -> str:
        did = ", ".join(f"{name} {count}" for name, count in self.counts().items() if count)
        return "; ".join([did, *self.faults])


# Assumed without a check: a busy system has rows to advance and to claim.
BUSY = Due(
    expired=False, to_advance=True, calls_to_cancel=False, pending=True, ended=False, orphaned=False
)


def tick(store: Store, spawner: Spawner, now: datetime, check_due: bool = True) -> TickReport:
    """Run each verb that has work, once. Without `check_due`, advance, claim and dispatch.

    Level-triggered: everything is read from Postgres and nothing is remembered. So a tick may come
    late, twice, or beside another, and may die anywhere. Each verb commits alone. A row that a dead
    tick leaves behind has a lease, and an expired lease is work for the next tick.
    """
    started = perf_counter()
    room = spawner.room()
    due = store.due(now, room) if check_due else BUSY
    given_back = store.give_back(room, now) if due.orphaned else 0
    retried, failed = reap(store, now) if due.expired or given_back else (0, 0)
    resolved = store.resolve(now) if due.left_open else 0
    settled = store.settle(now) if due.to_settle or resolved else 0
    advanced = store.advance(now) if due.to_advance or failed else 0
    calls_cancelled = cancel_calls(store, spawner) if due.calls_to_cancel else 0
    claimable = not room.closed and (due.pending or advanced or retried or given_back)
    chunks = store.claim(now, room) if claimable else []
    dispatched = dispatch(store, spawner, chunks, now)
    # Without a check, a tick that claimed leaves this to the next check (`due.ended`).
    may_have_ended = (check_due or not chunks) and (advanced or failed)
    finished = store.finish(now) if due.ended or may_have_ended else []
    if finished and store.resolve(now, after_s=0):
        settled += store.settle(now)
    report = TickReport(
        retried=retried,
        failed=failed,
        advanced=advanced,
        claimed=count_rows(chunks),
        spawned=dispatched.spawned,
        released=given_back + dispatched.released,
        unknown=dispatched.unknown,
        calls_cancelled=calls_cancelled,
        finished=len(finished),
        faults=dispatched.faults,
    )
    if report:
        store.record_tick(now, (perf_counter() - started) * 1000, **report.counts())
    return report


def reap(store: Store, now: datetime) -> tuple[int, int]:
    """Let the policy judge every row whose lease has expired; returns (retried, failed)."""
    return store.reap(now, lambda row: policy.judge(row, now, random.random()))
