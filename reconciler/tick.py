"""One pass over the state: the whole reconciler in one screen."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from time import perf_counter

from reconciler import policy
from reconciler.contract.store import LIMIT, Chunk, Store
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Spawner, Unknown


@dataclass(frozen=True)
class Dispatched:
    """How the claimed rows fared, in rows."""

    spawned: int = 0
    released: int = 0
    unknown: int = 0


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


def dispatch(store: Store, spawner: Spawner, chunks: list[Chunk], now: datetime) -> Dispatched:
    """Spawn the claimed chunks, and write down what became of each."""
    if not chunks:
        return Dispatched()
    outcomes = list(zip(chunks, spawner.spawn(chunks), strict=True))
    named = [(c, o.call_id) for c, o in outcomes if isinstance(o, Spawned) and o.call_id]
    store.record_calls([c for c, _ in named], [call_id for _, call_id in named])
    refused = [(c, o.reason) for c, o in outcomes if isinstance(o, Refused)]
    store.release(
        [c for c, _ in refused],
        [
            now + policy.backoff(1, c.backoff_s, c.backoff_max_s, random.random())
            for c, _ in refused
        ],
        [f"spawn refused: {reason}" for _, reason in refused],
    )
    unknown = [(c, o.reason) for c, o in outcomes if isinstance(o, Unknown)]
    store.note_unknown(
        [c for c, _ in unknown], [f"spawn outcome unknown: {reason}" for _, reason in unknown]
    )
    return Dispatched(
        spawned=rows_of(outcomes, Spawned),
        released=rows_of(outcomes, Refused),
        unknown=rows_of(outcomes, Unknown),
    )


def refused_wait(chunk: Chunk) -> timedelta:
    """The wait before a refused chunk may be claimed again: that of a first failure."""
    return policy.backoff(1, chunk.backoff_s, chunk.backoff_max_s, random.random())


def rows(chunks: Sequence[Chunk]) -> int:
    """How many rows `chunks` hold together."""
    return sum(len(chunk.company_ids) for chunk in chunks)


def rows_of(outcomes: Sequence[tuple[Chunk, Outcome]], kind: type[Outcome]) -> int:
    """How many rows fared as `kind`."""
    return rows([chunk for chunk, outcome in outcomes if isinstance(outcome, kind)])
