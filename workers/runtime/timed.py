"""Calls a step's function on a thread, which is left behind when one call takes too long."""

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic

from reconciler.contract.results import StepResult
from reconciler.contract.worker_store import Attempt
from workers.kit import Step
from workers.runtime.outcome import TookTooLong, produce

# What came of one call: a result, or what was raised.
Done = tuple[Attempt, StepResult | BaseException]


class Calls:
    """What comes of a step's calls for `attempts`, which goes on while that is written.

    Iterating gives what is done, or None where nothing was within `pause_s`. Python cannot end a
    thread, so one that hangs stays, counted in `left_behind`, and another goes on with the rest:
    whoever makes many calls in a process should go on in another process then.
    """

    def __init__(self, step: Step, attempts: Iterator[Attempt], pause_s: float) -> None:
        self._step, self._attempts = step, attempts
        self._wait_s = min(pause_s, step.timeout_s)
        self._thread = CallingThread(step, attempts)
        self.left_behind = 0

    def __iter__(self) -> Iterator[Done | None]:
        while True:
            try:
                done = self._thread.came.get(timeout=self._wait_s)
            except Empty:
                yield self._overdue()
                continue
            if done is None:
                return
            yield done

    def close(self) -> None:
        """Let no further call begin."""
        self._thread.leave()

    def _overdue(self) -> Done | None:
        """The call that takes too long, left behind."""
        attempt = self._thread.leave(self._step.timeout_s)
        if attempt is None:
            return None
        self.left_behind += 1
        self._thread = CallingThread(self._step, self._attempts)
        return attempt, TookTooLong(f"took longer than {self._step.timeout_s:g} s")


class CallingThread:
    """A thread that takes attempts, and says what came of each, and None at the end."""

    def __init__(self, step: Step, attempts: Iterator[Attempt]) -> None:
        self.came: SimpleQueue[Done | None] = SimpleQueue()
        self._step, self._attempts = step, attempts
        self._turn = Lock()
        self._left = False
        self._calling: tuple[Attempt, float] | None = None  # and since when
        Thread(target=self._run, name=step.name, daemon=True).start()

    def leave(self, after_s: float = 0.0) -> Attempt | None:
        """Take nothing that still comes of the call under way, if that has taken `after_s` seconds,
        and let it be the last; returns its attempt."""
        with self._turn:
            if self._calling is None:
                self._left = self._left or not after_s
                return None
            attempt, since = self._calling
            if monotonic() - since < after_s:
                return None
            self._left = True
            return attempt

    def _run(self) -> None:
        for attempt in self._attempts:
            with self._turn:
                if self._left:
                    return
                self._calling = attempt, monotonic()
            try:
                came: StepResult | BaseException = produce(self._step, attempt.company)
            except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
                came = error
            with self._turn:
                if self._left:
                    return
                self._calling = None
            self.came.put((attempt, came))
        self.came.put(None)
