"""Renews the leases of all attempts of a worker process, from one thread."""

from collections.abc import Iterable, Sequence
from math import inf
from threading import Event, Lock, Thread
from time import monotonic

import psycopg

from reconciler.contract.errors import TracerError
from workers.runtime.calls import GRACE_S, Turn, Verbs
from workers.runtime.patience import OUTAGE

BEATS_PER_LEASE = 3


class Heart:
    """Beats for as long as the process lives: one statement for all attempts that it holds.

    It has a thread of its own, so a step that blocks the event loop does not lose the others'
    leases. But the lease of a function that is long over its time-out is not renewed: another
    worker shall have the row.
    """

    def __init__(self, store: Verbs) -> None:
        self._store = store
        self._held: dict[tuple[str, int], Turn] = {}
        self._every_s = inf  # between beats
        self._turn = Lock()
        self._woken, self._closed = Event(), False
        self._thread: Thread | None = None

    def hold(self, turns: Sequence[Turn]) -> None:
        """Renew the leases of these from now on."""
        with self._turn:
            self._held.update((turn.key, turn) for turn in turns)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="heart", daemon=True)
                self._thread.start()
            if every_s(turns) < self._every_s:
                self._woken.set()

    def holds(self, turn: Turn) -> bool:
        """Whether the last beat found the attempt still ours (not cancelled, not reaped)."""
        return self._held.get(turn.key) is turn

    def release(self, turns: Iterable[Turn]) -> None:
        """Stop renewing these."""
        with self._turn:
            for turn in turns:
                if self._held.get(turn.key) is turn:  # not another attempt at the same
                    del self._held[turn.key]

    def close(self) -> None:
        """Beat no more."""
        self._closed = True
        self._woken.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        beaten = monotonic()
        while not self._closed:
            every_s = self._look()
            wait_s = None if every_s == inf else max(0.0, beaten + every_s - monotonic())
            if self._woken.wait(wait_s):
                self._woken.clear()
                beaten = monotonic() if every_s == inf else beaten
                continue
            self._beat()
            beaten = monotonic()

    def _look(self) -> float:
        with self._turn:
            self._every_s = every_s(self._beating())
            return self._every_s

    def _beating(self) -> list[Turn]:
        return [turn for turn in self._held.values() if not turn.overdue(GRACE_S)]

    def _beat(self) -> None:
        with self._turn:
            turns = self._beating()
        began = monotonic()
        try:
            ours = self._store.heartbeat([turn.attempt for turn in turns])
        except (psycopg.Error, TracerError) as error:  # also a grant that was taken away
            OUTAGE.wait(error)  # the next beat is its next try
            return
        OUTAGE.over(began)
        self.release(turn for turn in turns if turn.key not in ours)


def every_s(turns: Iterable[Turn]) -> float:
    """Seconds between beats, by the shortest lease; infinite where there is nothing to renew."""
    return min((turn.attempt.lease_s for turn in turns), default=inf) / BEATS_PER_LEASE
