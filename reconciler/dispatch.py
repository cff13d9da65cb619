"""Spawn what was claimed, and write down what became of it: taken, refused, or unknown."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from reconciler import policy
from reconciler.contract.store import Chunk, Pace, Store
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Spawner, Unknown

Dispatches = Sequence[tuple[Chunk, Outcome]]


@dataclass(frozen=True)
class Dispatched:
    """How the claimed rows fared, in rows."""

    spawned: int = 0
    released: int = 0
    unknown: int = 0


def dispatch(store: Store, spawner: Spawner, chunks: Sequence[Chunk], now: datetime) -> Dispatched:
    """Spawn the claimed chunks; a step of which not all was taken is slowed down.

    Refused rows go back and wait as long as their step does. What has no answer stays QUEUED: a
    worker may have it already, and its lease decides.
    """
    if not chunks:
        return Dispatched()
    started = perf_counter()
    outcomes = list(zip(chunks, spawner.spawn(chunks), strict=True))
    answered = now + timedelta(seconds=perf_counter() - started)
    paces = pace_steps(outcomes, answered)
    record(store, outcomes)
    release(store, outcomes, {pace.step_name: pace.held_until for pace in paces})
    note_unknown(store, outcomes)
    store.throttle(paces)
    return Dispatched(
        spawned=rows_of(outcomes, Spawned),
        released=rows_of(outcomes, Refused),
        unknown=rows_of(outcomes, Unknown),
    )


def pace_steps(outcomes: Dispatches, now: datetime) -> list[Pace]:
    """How each step goes on, where that is not as before."""
    steps: dict[str, list[tuple[Chunk, Outcome]]] = {}
    for chunk, outcome in outcomes:
        steps.setdefault(chunk.step_name, []).append((chunk, outcome))
    paces = []
    for of_step in steps.values():
        faults = [o.reason for _, o in of_step if not isinstance(o, Spawned)]
        taken = rows_of(of_step, Spawned)
        paces.append(policy.pace(of_step[0][0], taken, faults, now, random.random()))
    return [pace for pace in paces if pace]


def record(store: Store, outcomes: Dispatches) -> None:
    """Keep which call each row travels in, where calls have a name."""
    named = [(c, o.call_id) for c, o in outcomes if isinstance(o, Spawned) and o.call_id]
    store.record_calls([c for c, _ in named], [call_id for _, call_id in named])


def release(store: Store, outcomes: Dispatches, until: dict[str, datetime]) -> None:
    """Put what was refused back, with the reason, until its step may claim again."""
    refused = [(c, o.reason) for c, o in outcomes if isinstance(o, Refused)]
    store.release(
        [c for c, _ in refused],
        [until[c.step_name] for c, _ in refused],
        [f"spawn refused: {reason}" for _, reason in refused],
    )


def note_unknown(store: Store, outcomes: Dispatches) -> None:
    """Keep why there is no answer, for whoever asks."""
    unknown = [(c, o.reason) for c, o in outcomes if isinstance(o, Unknown)]
    store.note_unknown(
        [c for c, _ in unknown], [f"spawn outcome unknown: {reason}" for _, reason in unknown]
    )


def recall(store: Store, spawner: Spawner) -> int:
    """Cancel the calls that carry nothing but cancelled rows; returns how many are gone."""
    calls = store.recallable()
    gone = spawner.recall(calls) if calls else []
    store.note_recalled(gone)
    return len(gone)


def rows(chunks: Sequence[Chunk]) -> int:
    """How many rows `chunks` hold together."""
    return sum(len(chunk.company_ids) for chunk in chunks)


def rows_of(outcomes: Dispatches, kind: type[Outcome]) -> int:
    """How many rows fared as `kind`."""
    return rows([chunk for chunk, outcome in outcomes if isinstance(outcome, kind)])
