"""Writes what came of all calls of a worker process, together, from one thread."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from threading import Condition, Thread
from typing import TypeVar

import psycopg

from reconciler.contract.holds import Hold
from reconciler.contract.results import StepResult
from reconciler.contract.worker_store import Attempt, Failure
from workers.runtime.calls import Turn, Verbs
from workers.runtime.heart import Heart
from workers.runtime.holds import Holds
from workers.runtime.outcome import Outcome, not_written
from workers.runtime.pacer import Pacer
from workers.runtime.patience import RESULTS_PATIENCE_S, TOO_LARGE, patiently
from workers.runtime.streaks import Streaks

T = TypeVar("T", StepResult, Failure)

# Outcomes wait at most this long for others, so that fast steps land as one transaction while of
# slow, paid ones hardly more than what is under way is lost when the process dies. Longer waits
# would leave capacity unused: a row is in flight until its outcome is written. (0.03 s was no
# cheaper, and 2 % slower where an API takes 50 ms.)
FLUSH_AFTER_S = 0.015
FLUSH_ROWS = 500
# If so many have come by then, they come fast: to wait a little longer for a full statement costs
# a fifth less CPU for steps that do nothing.
MANY, FILL_FOR_S = 100, 0.045
Entry = tuple[Turn, Outcome]


class Ledger:
    """Outcomes on their way to the database.

    They are written when nothing else is in hand, when there are `FLUSH_ROWS`, or when the first
    has waited for `FLUSH_AFTER_S`.
    """

    def __init__(self, store: Verbs, heart: Heart, holds: Holds, pacer: Pacer) -> None:
        self._store, self._heart, self._holds, self._pacer = store, heart, holds, pacer
        self._streaks = Streaks()
        self._entries: list[Entry] = []
        self._in_hand = 0
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None

    def expect(self, attempts: int) -> None:
        """Note that so many outcomes will come, or, below 0, that so many will not."""
        with self._changed:
            self._in_hand += attempts
            if not self._in_hand:
                self._changed.notify()

    def put(self, entries: Sequence[Entry]) -> None:
        """Take in what expected attempts came to."""
        if not entries:
            return
        with self._changed:
            before = len(self._entries)
            self._entries += entries
            self._in_hand -= len(entries)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
            if not before or before < FLUSH_ROWS <= len(self._entries) or not self._in_hand:
                self._changed.notify()

    def close(self) -> None:
        """Return when all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while entries := self._due():
            calls = {turn.call for turn, _ in entries}
            try:
                self._write(entries)
            except BaseException as error:  # noqa: BLE001 - it is the calls' to raise
                self._heart.release(turn for turn, _ in entries)
                for call in calls:
                    call.give_up(error)

    def _due(self) -> list[Entry]:
        """Wait until there is something to write; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closed)
            for wait_s in (FLUSH_AFTER_S, FILL_FOR_S):
                if self._changed.wait_for(self._is_full, wait_s) or len(self._entries) < MANY:
                    break
            entries = self._entries[:FLUSH_ROWS]
            del self._entries[:FLUSH_ROWS]
            return entries

    def _is_full(self) -> bool:
        """Whether there is nothing more to wait for."""
        return not self._in_hand or len(self._entries) >= FLUSH_ROWS or self._closed

    def _write(self, entries: Sequence[Entry]) -> None:
        """The results first, since one that will not go in is a failure."""
        done = [(turn, found) for turn, found in entries if isinstance(found, StepResult)]
        failed = [(turn, found) for turn, found in entries if isinstance(found, Failure)]
        asked = len(failed)
        self._pacer.note(entries)
        self._hold([(turn, found) for turn, found in entries if isinstance(found, Hold)])
        by_step = groupby(sorted(done, key=step_of), key=step_of)
        for _, of_step in by_step:
            failed += self._complete_or_hold(list(of_step))
        refused = dict(failed[asked:])
        for step, hold in self._streaks.note(entries, refused) if failed or self._streaks else ():
            patiently(partial(self._holds.hold, step, hold), RESULTS_PATIENCE_S)
        if failed:
            won = self._patiently(self._store.fail, failed)
            self._written(failed, won, "failed")

    def _complete_or_hold(
        self, done: Sequence[tuple[Turn, StepResult]]
    ) -> list[tuple[Turn, Failure]]:
        """Write one step's results; returns those that cannot be written.

        If the table is at fault and not a result, the step is held, and its rows go back.
        """
        try:
            self._land(done)
        except psycopg.OperationalError as error:
            if not isinstance(error, TOO_LARGE):
                raise
        except Exception as error:  # noqa: BLE001 - a stranger's result
            if self._holds.is_at_fault(done[0][0].call.step, error):
                self._give_back([turn for turn, _ in done])
                return []
        else:
            return []
        return self._complete(done)

    def _hold(self, held: Sequence[tuple[Turn, Hold]]) -> None:
        """Hold steps that cannot be worked; what they were called for goes back."""
        for step, hold in {
            turn.call.step.name: (turn.call.step, hold) for turn, hold in held
        }.values():
            patiently(partial(self._holds.hold, step, hold), RESULTS_PATIENCE_S)
        if held:
            self._give_back([turn for turn, _ in held])

    def _give_back(self, turns: Sequence[Turn]) -> None:
        """Release attempts without an outcome: nothing is wrong with these companies."""
        attempts = [turn.attempt for turn in turns]
        won = patiently(lambda: self._store.release_begun(attempts), RESULTS_PATIENCE_S)
        self._heart.release(turns)
        for turn in turns:
            turn.call.settle(1, stale=int(turn.key not in won))

    def _land(self, done: Sequence[tuple[Turn, StepResult]]) -> None:
        write = partial(self._store.complete, version=done[0][0].call.step.version)
        self._written(done, self._patiently(write, done), "completed")

    def _complete(self, done: Sequence[tuple[Turn, StepResult]]) -> list[tuple[Turn, Failure]]:
        """Write one step's results in one transaction; returns those that cannot be written.

        If one of them has spoilt the transaction, each half is written in its own.
        """
        try:
            self._land(done)
        except Exception as error:
            if isinstance(error, psycopg.OperationalError) and not isinstance(error, TOO_LARGE):
                raise
            if len(done) > 1:
                half = len(done) // 2
                return [*self._complete(done[:half]), *self._complete(done[half:])]
            turn, result = done[0]
            return [(turn, not_written(result, error))]
        return []

    def _patiently(
        self,
        write: Callable[[Sequence[Attempt], Sequence[T]], set[tuple[str, int]]],
        entries: Sequence[tuple[Turn, T]],
    ) -> set[tuple[str, int]]:
        attempts, found = [turn.attempt for turn, _ in entries], [found for _, found in entries]
        return patiently(lambda: write(attempts, found), RESULTS_PATIENCE_S)

    def _written(
        self, entries: Sequence[tuple[Turn, Outcome]], won: set[tuple[str, int]], how: str
    ) -> None:
        self._heart.release(turn for turn, _ in entries)
        came_to = Counter((turn.call, how if turn.key in won else "stale") for turn, _ in entries)
        for (call, what), attempts in came_to.items():
            call.settle(attempts, **{what: attempts})


def step_of(entry: tuple[Turn, object]) -> str:
    """The name of the entry's step."""
    return entry[0].attempt.step_name
