"""begin, heartbeat, complete, fail around a step function: every line of it shared by all hosts."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.errors import NotAllowed
from reconciler.contract.outage import Outage, first_line
from reconciler.contract.results import StepResult
from reconciler.contract.worker_store import Attempt, Failure, WorkerStore
from workers.kit import Step
from workers.runtime.outcome import failure
from workers.runtime.timed import Calls, Done

T = TypeVar("T")
log = logging.getLogger("tracer.worker")
OUTAGE = Outage(log.warning)

# Results wait at most this long for company, so that fast steps land as one transaction per chunk
# while of a slow, paid step hardly more than the call under way is lost when the process dies.
FLUSH_AFTER_S = 0.2
BEATS_PER_LEASE = 3
# What a result that its table does not take raises; no retry of the same values would help.
TOO_LARGE = (  # an OperationalError to psycopg, and no outage: the same value is refused again
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns,
    psycopg.errors.TooManyArguments,
)
UNWRITABLE = (
    *TOO_LARGE,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    NotAllowed,
    ValueError,
)
RETRY_S = 5.0  # at most, between tries while the database is away
BEGIN_PATIENCE_S = 30.0
# Results may be paid for, and nobody takes the rows while the database is away: so for longer than
# a lease, and than the restart of a large server takes.
RESULTS_PATIENCE_S = 600.0


@dataclass
class WorkReport:
    """What became of one call's companies.

    `stale`: the attempt was no longer this worker's. `left_behind`: step functions that hang, each
    on a thread that cannot be ended but with this program.
    """

    begun: int = 0
    completed: int = 0
    failed: int = 0
    stale: int = 0
    left_behind: int = 0


def work(
    store: WorkerStore,
    step: Step,
    company_ids: Sequence[int],
    stop: Event | None = None,
    call_id: str | None = None,
) -> WorkReport:
    """Do one call: begin what is QUEUED of `company_ids`, work each, write what came of it.

    A company that fails does so alone. With `stop` set, what is done is written, and the rest is
    left to its lease. `call_id` is what the call is known by where it was spawned.

    Raises:
        psycopg.OperationalError: the database was away for `BEGIN_PATIENCE_S`, or, when there was
            something to write, for `RESULTS_PATIENCE_S`.
    """
    if stop and stop.is_set():
        return WorkReport()
    begin = partial(store.begin, step.name, company_ids, call_id)
    attempts = patiently(begin, BEGIN_PATIENCE_S)
    report = WorkReport(begun=len(attempts))
    if not attempts:
        return report
    passed_over: list[Attempt] = []
    with Heart(store, attempts) as heart:
        due = still_due(attempts, heart, stop, passed_over)
        with closing(Calls(step, due, FLUSH_AFTER_S)) as calls:
            ledger = Ledger(store, heart, report)
            for done in calls:
                ledger.take(done)
            ledger.flush()
    report.stale += len(passed_over)
    report.left_behind = calls.left_behind
    if report.stale:
        log.info("%s: %d were no longer this worker's, and were refused", step.name, report.stale)
    return report


def still_due(
    attempts: Sequence[Attempt], heart: "Heart", stop: Event | None, passed_over: list[Attempt]
) -> Iterator[Attempt]:
    """The attempts, until `stop` is set; those that are ours no more are not paid for."""
    for attempt in attempts:
        if stop and stop.is_set():
            return
        if heart.holds(attempt):
            yield attempt
        else:
            passed_over.append(attempt)


@dataclass
class Ledger:
    """Outcomes on their way to the database."""

    store: WorkerStore
    heart: "Heart"
    report: WorkReport
    done: list[tuple[Attempt, StepResult]] = field(default_factory=list)
    failed: list[tuple[Attempt, Failure]] = field(default_factory=list)
    written_at: float = field(default_factory=monotonic)

    def take(self, done: Done | None) -> None:
        """Take in what a call came to, if it has; write when the last time is a while ago."""
        match done:
            case (attempt, BaseException() as error):
                self.failed.append((attempt, failure(error)))
            case (attempt, result):
                self.done.append((attempt, result))
        if monotonic() - self.written_at >= FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Write what is there: the results first, since one that will not go in is a failure."""
        done, self.done = self.done, []
        if done:
            self._complete(done)
        failed, self.failed = self.failed, []
        if failed:
            won = patiently(lambda: self.store.fail(*_columns(failed)), RESULTS_PATIENCE_S)
            self.report.failed += len(won)
            self._written(failed, won)
        self.written_at = monotonic()

    def _complete(self, done: Sequence[tuple[Attempt, StepResult]]) -> None:
        """In one transaction, or, once one of them has spoilt that, each in its own."""
        try:
            won = patiently(lambda: self.store.complete(*_columns(done)), RESULTS_PATIENCE_S)
        except UNWRITABLE as error:
            if len(done) > 1:
                for one in done:
                    self._complete([one])
                return
            text = f"result not written: {first_line(error)}"
            self.failed.append((done[0][0], Failure(text, kind=ErrorKind.NOT_WRITTEN)))
            return
        self.report.completed += len(won)
        self._written(done, won)

    def _written(self, rows: Sequence[tuple[Attempt, object]], won: set[int]) -> None:
        self.report.stale += len(rows) - len(won)
        self.heart.release(attempt for attempt, _ in rows)


class Heart:
    """Renews the leases of a call's attempts from a thread, for as long as the process lives."""

    def __init__(self, store: WorkerStore, attempts: Sequence[Attempt]) -> None:
        self._store = store
        self._held = {attempt.company.id: attempt for attempt in attempts}
        self._every_s = attempts[0].lease_s / BEATS_PER_LEASE
        self._stop = Event()
        self._thread = Thread(target=self._beat, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def holds(self, attempt: Attempt) -> bool:
        """Whether the last beat found the attempt still ours (not cancelled, not reaped)."""
        return attempt.company.id in self._held

    def release(self, attempts: Iterable[Attempt]) -> None:
        """Stop renewing attempts that are written."""
        for attempt in attempts:
            self._held.pop(attempt.company.id, None)

    def _beat(self) -> None:
        while not self._stop.wait(self._every_s):
            beating = list(self._held.values())
            try:
                ours = self._store.heartbeat(beating)
            except psycopg.OperationalError as error:
                OUTAGE.wait(error)  # the next beat is its next try
                continue
            if beating:
                OUTAGE.over()
            self.release(a for a in beating if a.company.id not in ours)


def patiently(write: Callable[[], T], patience_s: float) -> T:
    """Try a write until the database answers or `patience_s` have passed.

    Repeating is safe: a write that had landed unseen finds its attempt gone, or nothing to begin.
    """
    deadline = monotonic() + patience_s
    while True:
        try:
            written = write()
        except TOO_LARGE:
            raise
        except psycopg.OperationalError as error:
            wait_s = min(OUTAGE.wait(error), RETRY_S)
            if monotonic() >= deadline:
                raise
            Event().wait(wait_s)
        else:
            OUTAGE.over()
            return written


def _columns(pairs: Sequence[tuple[Attempt, T]]) -> tuple[list[Attempt], list[T]]:
    return [attempt for attempt, _ in pairs], [value for _, value in pairs]
