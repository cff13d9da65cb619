"""Spawn what was claimed, and write down what became of it: taken, refused, or unknown."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

import psycopg

from reconciler import policy
from reconciler.contract.claimed import Chunk, Throttle
from reconciler.contract.store import Store
from reconciler.spawners.protocol import (
    Answer,
    Outcome,
    Refused,
    Spawned,
    Spawner,
    Unanswered,
    Unknown,
)

Answers = Sequence[Answer]


@dataclass(frozen=True)
class Dispatched:
    """How the claimed rows fared, in rows; `faults` has a line per step and reason."""

    spawned: int = 0
    released: int = 0
    unknown: int = 0
    faults: tuple[str, ...] = ()


def dispatch(store: Store, spawner: Spawner, chunks: Sequence[Chunk], now: datetime) -> Dispatched:
    """Spawn the claimed chunks, and write down what is answered of these and of earlier ones."""
    started = perf_counter()
    answers = spawner.late()
    if chunks:
        outcomes = zip(chunks, spawner.spawn(chunks), strict=True)
        answers += [(c, o) for c, o in outcomes if not isinstance(o, Unanswered)]
    return write_down(store, answers, now + timedelta(seconds=perf_counter() - started))


def settle(store: Store, spawner: Spawner, now: datetime) -> Dispatched:
    """Wait for all answers that are still to come, and write them down: before a loop leaves."""
    started = perf_counter()
    answers = spawner.late(settle=True)
    cancel_calls(store, spawner)
    return write_down(store, answers, now + timedelta(seconds=perf_counter() - started))


@contextmanager
def settled(store: Store, spawner: Spawner) -> Iterator[Spawner]:
    """The spawner, for as long as it is needed; what is answered late is written down at the end.

    Where the database is away by then, the leases decide.
    """
    with closing(spawner):
        yield spawner
        with suppress(psycopg.OperationalError):
            settle(store, spawner, store.now())


def write_down(store: Store, answers: Answers, now: datetime) -> Dispatched:
    """Keep what became of chunks; a step of which not all was taken is slowed down.

    Refused rows go back with a backoff. What has no answer, or an unknown one, stays QUEUED: a
    worker may have it already, and its lease decides.
    """
    if not answers:
        return Dispatched()
    record(store, answers)
    release(store, answers, now)
    note_unknown(store, answers)
    store.throttle(throttle_steps(answers, now))
    return Dispatched(
        spawned=rows_of(answers, Spawned),
        released=rows_of(answers, Refused),
        unknown=rows_of(answers, Unknown),
        faults=faults_of(answers),
    )


def throttle_steps(outcomes: Answers, now: datetime) -> list[Throttle]:
    """How each step goes on, where that is not as before."""
    steps: dict[str, list[tuple[Chunk, Outcome]]] = {}
    for chunk, outcome in outcomes:
        steps.setdefault(chunk.step_name, []).append((chunk, outcome))
    throttles = []
    for of_step in steps.values():
        faults = [o.reason for _, o in of_step if not isinstance(o, Spawned)]
        taken = rows_of(of_step, Spawned)
        throttles.append(policy.throttle(of_step[0][0], taken, faults, now, random.random()))
    return [throttle for throttle in throttles if throttle]


def faults_of(outcomes: Answers) -> tuple[str, ...]:
    """Each step's reasons, once."""
    found = {f"{c.step_name}: {o.reason}": None for c, o in outcomes if not isinstance(o, Spawned)}
    return tuple(found)


def record(store: Store, outcomes: Answers) -> None:
    """Keep which call each row travels in, where calls have a name."""
    named = [(c, o.call_id) for c, o in outcomes if isinstance(o, Spawned) and o.call_id]
    store.record_calls([c for c, _ in named], [call_id for _, call_id in named])


def release(store: Store, outcomes: Answers, now: datetime) -> None:
    """Put what was refused back, with the reason, to wait as after a first failure."""
    refused = [(c, o.reason) for c, o in outcomes if isinstance(o, Refused)]
    store.release(
        [c for c, _ in refused],
        [
            now + policy.backoff(1, c.backoff_s, c.backoff_max_s, random.random())
            for c, _ in refused
        ],
        [f"spawn refused: {reason}" for _, reason in refused],
    )


def note_unknown(store: Store, outcomes: Answers) -> None:
    """Keep why there is no answer, for whoever asks."""
    unknown = [(c, o.reason) for c, o in outcomes if isinstance(o, Unknown)]
    store.note_unknown(
        [c for c, _ in unknown], [f"spawn outcome unknown: {reason}" for _, reason in unknown]
    )


def cancel_calls(store: Store, spawner: Spawner) -> int:
    """Cancel the calls that carry nothing but cancelled rows; returns how many are gone."""
    calls = store.calls_to_cancel()
    gone = spawner.cancel(calls) if calls else []
    store.note_cancelled_calls(gone)
    return len(gone)


def rows(chunks: Sequence[Chunk]) -> int:
    """How many rows `chunks` hold together."""
    return sum(len(chunk.company_ids) for chunk in chunks)


def rows_of(outcomes: Answers, kind: type[Outcome]) -> int:
    """How many rows fared as `kind`."""
    return rows([chunk for chunk, outcome in outcomes if isinstance(outcome, kind)])
