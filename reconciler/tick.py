"""One pass over the state: the whole reconciler in one screen."""

import random
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from time import perf_counter
from typing import Self

from reconciler import policy
from reconciler.contract.claimed import LIMIT
from reconciler.contract.store import Due, Store
from reconciler.dispatch import Dispatched, cancel_calls, dispatch, rows
from reconciler.spawners.protocol import Spawner


@dataclass(frozen=True)
class TickReport:
    """What a tick did, in rows (`calls_cancelled`: in calls; `finished`: in batches).

    `faults` says why rows were released or their outcome is unknown.
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
        """The figures by name."""
        named = asdict(self)
        del named["faults"]
        return named

    def with_late(self, late: Dispatched) -> Self:
        """The report with what was answered only after the tick."""
        return replace(
            self,
            spawned=self.spawned + late.spawned,
            released=self.released + late.released,
            unknown=self.unknown + late.unknown,
            faults=(*self.faults, *late.faults),
        )

    @property
    def saturated(self) -> bool:
        """Whether a verb reached its limit, so that more of the same is waiting."""
        return max(self.retried + self.failed, self.advanced, self.claimed) >= LIMIT

    def __str__(self) -> str:
        did = ", ".join(f"{name} {count}" for name, count in self.counts().items() if count)
        return "; ".join([did, *self.faults])


# Assumed when the look is skipped: the verbs that a busy system has work for.
ASSUMED = Due(expired=False, completed=True, calls_to_cancel=False, pending=True, ended=False)


def tick(store: Store, spawner: Spawner, now: datetime, look: bool = True) -> TickReport:
    """Move the world one step toward its desired state; without a `look`, of what is usual alone.

    Level-triggered: everything is read anew from Postgres and nothing is remembered, so a tick may
    come late, twice, or beside another, and may die anywhere. Every step commits by itself; what a
    death leaves behind holds a lease, and an expired lease is the next tick's work.
    """
    started = perf_counter()
    found = store.due(now) if look else ASSUMED
    retried, failed = reap(store, now) if found.expired else (0, 0)
    advanced = store.advance(now) if found.completed else 0
    calls_cancelled = cancel_calls(store, spawner) if found.calls_to_cancel else 0
    chunks = store.claim(now) if found.pending or advanced or retried else []
    dispatched = dispatch(store, spawner, chunks, now)
    done = (look or not chunks) and (advanced or failed)  # else the next look sees that it is
    finished = store.finish(now) if found.ended or done else []
    report = TickReport(
        retried=retried,
        failed=failed,
        advanced=advanced,
        claimed=rows(chunks),
        spawned=dispatched.spawned,
        released=dispatched.released,
        unknown=dispatched.unknown,
        calls_cancelled=calls_cancelled,
        finished=len(finished),
        faults=dispatched.faults,
    )
    if report:
        store.record_tick(now, (perf_counter() - started) * 1000, **report.counts())
    return report


def reap(store: Store, now: datetime) -> tuple[int, int]:
    """Have the policy judge every row whose lease is over; returns (retried, failed)."""
    return store.reap(now, lambda row: policy.judge(row, now, random.random()))
