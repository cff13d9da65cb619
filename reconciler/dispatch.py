"""Spawns claimed chunks, and records each outcome: spawned, refused or unknown."""

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
    """Outcomes, as numbers of rows; `faults` has one line per step and reason."""

    spawned: int = 0
    released: int = 0
    unknown: int = 0
    faults: tuple[str, ...] = ()


def dispatch(store: Store, spawner: Spawner, chunks: Sequence[Chunk], now: datetime) -> Dispatched:
    """Spawn the claimed chunks; record the answers to them, and late answers to earlier ones."""
    started = perf_counter()
    answers = spawner.late_answers()
    if chunks:
        outcomes = zip(chunks, spawner.spawn(chunks), strict=True)
        answers += [(c, o) for c, o in outcomes if not isinstance(o, Unanswered)]
    return record_answers(store, answers, now + timedelta(seconds=perf_counter() - started))


def wait_for_answers(store: Store, spawner: Spawner, now: datetime) -> Dispatched:
    """Wait for all late answers and record them, before a loop leaves."""
    started = perf_counter()
    answers = spawner.late_answers(wait_for_all=True)
    cancel_calls(store, spawner)
    return record_answers(store, answers, now + timedelta(seconds=perf_counter() - started))


@contextmanager
def until_answered(store: Store, spawner: Spawner) -> Iterator[Spawner]:
    """Use the spawner in the block. At its end, wait for late answers, and close the spawner.

    If the database is away then, the leases decide on the rows.
    """
    with closing(spawner):
        yield spawner
        with suppress(psycopg.OperationalError):
            wait_for_answers(store, spawner, store.now())


def record_answers(store: Store, answers: Answers, now: datetime) -> Dispatched:
    """Write the outcome of each chunk, and throttle steps whose calls were not all taken.

    Refused rows go back to PENDING with a backoff. Rows with an unknown outcome stay QUEUED: a
    worker may have them already, and their lease decides.
    """
    if not answers:
        return Dispatched()
    record_calls(store, answers)
    release(store, answers, now)
    note_unknown(store, answers)
    store.throttle(throttle_steps(answers, now))
    return Dispatched(
        spawned=count_rows_as(answers, Spawned),
        released=count_rows_as(answers, Refused),
        unknown=count_rows_as(answers, Unknown),
        faults=fault_lines(answers),
    )


def throttle_steps(answers: Answers, now: datetime) -> list[Throttle]:
    """The new throttles, of those steps whose throttle changes."""
    by_step: dict[str, list[tuple[Chunk, Outcome]]] = {}
    for chunk, outcome in answers:
        by_step.setdefault(chunk.step_name, []).append((chunk, outcome))
    throttles = []
    for of_step in by_step.values():
        faults = [o.reason for _, o in of_step if not isinstance(o, Spawned)]
        taken = count_rows_as(of_step, Spawned)
        throttles.append(policy.throttle(of_step[0][0], taken, faults, now, random.random()))
    return [throttle for throttle in throttles if throttle]


def fault_lines(answers: Answers) -> tuple[str, ...]:
    """A line per step and reason why a call was refused or its outcome is unknown."""
    found = {f"{c.step_name}: {o.reason}": None for c, o in answers if not isinstance(o, Spawned)}
    return tuple(found)


def record_calls(store: Store, answers: Answers) -> None:
    """Write the call of each spawned row, if calls have ids."""
    spawned = [(c, o.call_id) for c, o in answers if isinstance(o, Spawned) and o.call_id]
    store.record_calls([c for c, _ in spawned], [call_id for _, call_id in spawned])


def release(store: Store, answers: Answers, now: datetime) -> None:
    """Put refused rows back to PENDING, with the reason and the backoff of a first failure."""
    refused = [(c, o.reason) for c, o in answers if isinstance(o, Refused)]
    store.release(
        [c for c, _ in refused],
        [
            now + policy.backoff(1, c.backoff_s, c.backoff_max_s, random.random())
            for c, _ in refused
        ],
        [f"spawn refused: {reason}" for _, reason in refused],
    )


def note_unknown(store: Store, answers: Answers) -> None:
    """Write the reason to rows whose outcome is unknown."""
    unknown = [(c, o.reason) for c, o in answers if isinstance(o, Unknown)]
    store.note_unknown(
        [c for c, _ in unknown], [f"spawn outcome unknown: {reason}" for _, reason in unknown]
    )


def cancel_calls(store: Store, spawner: Spawner) -> int:
    """Cancel calls whose rows are all cancelled; returns how many calls are gone."""
    calls = store.calls_to_cancel()
    gone = spawner.cancel(calls) if calls else []
    store.note_cancelled_calls(gone)
    return len(gone)


def count_rows(chunks: Sequence[Chunk]) -> int:
    """The number of rows in all `chunks`."""
    return sum(len(chunk.company_ids) for chunk in chunks)


def count_rows_as(answers: Answers, kind: type[Outcome]) -> int:
    """The number of rows whose outcome is a `kind`."""
    return count_rows([chunk for chunk, outcome in answers if isinstance(outcome, kind)])
