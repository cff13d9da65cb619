"""One pass over the state: the whole reconciler in one screen."""

import random
from dataclasses import dataclass, fields
from datetime import datetime
from time import perf_counter

from reconciler import policy
from reconciler.contract.store import LIMIT, Store
from reconciler.dispatch import dispatch, recall, rows
from reconciler.spawners.protocol import Spawner


@dataclass(frozen=True)
class TickReport:
    """What a tick did, in rows (`finished`: in batches)."""

    retried: int
    buried: int
    advanced: int
    claimed: int
    spawned: int
    released: int
    unknown: int
    finished: int

    def __bool__(self) -> bool:
        """Whether the tick did anything."""
        return any(self.counts().values())

    def counts(self) -> dict[str, int]:
        """The figures by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def saturated(self) -> bool:
        """Whether a verb reached its limit, so that more of the same is waiting."""
        return max(self.retried + self.buried, self.advanced, self.claimed) >= LIMIT

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.counts().items() if count)


def tick(store: Store, spawner: Spawner, now: datetime) -> TickReport:
    """Move the world one step toward its desired state.

    Level-triggered: everything is read anew from Postgres and nothing is remembered, so a tick may
    come late, twice, or beside another, and may die anywhere. Every step commits by itself; what a
    death leaves behind holds a lease, and an expired lease is the next tick's work.
    """
    started = perf_counter()
    retried, buried = store.reap(now, lambda row: policy.judge(row, now, random.random()))
    advanced = store.advance(now)
    chunks = store.claim(now)
    dispatched = dispatch(store, spawner, chunks, now)
    recall(store, spawner)
    finished = store.finish(now)
    report = TickReport(
        retried=retried,
        buried=buried,
        advanced=advanced,
        claimed=rows(chunks),
        spawned=dispatched.spawned,
        released=dispatched.released,
        unknown=dispatched.unknown,
        finished=len(finished),
    )
    if report:
        store.record_tick(now, (perf_counter() - started) * 1000, **report.counts())
    return report
