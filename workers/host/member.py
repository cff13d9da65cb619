"""One worker process as its host sees it: the pipe to it, and the calls that it holds."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic

from workers.host.child import STOPS, Alive, Done, End, Exhausted, Order, child_main

CONTEXT = multiprocessing.get_context("spawn")  # threads and fork do not mix
# A process that says nothing for so long is stopped, or a step holds Python's own lock.
SILENT_S = 30.0


class Child:
    """A worker process, the pipe to it, and the calls that it holds."""

    def __init__(self, database_url: str, lock: Path, name: str) -> None:
        self.name = name  # by which the database knows what it holds
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=child_main, args=(theirs, database_url, name, lock), daemon=True
        )
        # A signal to the whole family must not end it while it starts: it is inherited as blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.started = monotonic()
        self.held: dict[int, Order] = {}
        self.retired = False  # a step hangs in it: it gets no more calls
        self.useful = False  # it has done a call

    def send(self, order: Order) -> None:
        """Give it a call; if it has died, whoever listens to it finds that out."""
        self.held[order.number] = order
        try:
            self._pipe.send(order)
        except OSError:
            return

    def words(self, longest_s: Callable[[Iterable[Order]], float]) -> "Iterable[Done | Exhausted]":
        """Each call that is done, until the process ends or must be ended.

        `longest_s` is how long a function of these calls may take.
        """
        heard = monotonic()
        while True:
            # Its end is watched too: a program that a step has started may hold the pipe open.
            ready = wait([self._pipe, self._process.sentinel], SILENT_S)
            if self._pipe not in ready:
                if ready or monotonic() - heard >= SILENT_S:
                    return
                continue
            try:
                word = self._pipe.recv()
            except (EOFError, OSError):
                return
            heard = monotonic()
            if isinstance(word, Done | Exhausted):
                yield word
            elif isinstance(word, Alive) and word.silent_s > longest_s(self.held.values()):
                return

    def finish(self, within_s: float) -> None:
        """Have the process finish what is under way within so many seconds, and end."""
        with suppress(OSError, ValueError):  # it has ended
            self._pipe.send(End(within_s))

    def join(self, within_s: float) -> None:
        """Wait for the process to end, and end it if it does not."""
        self._process.join(max(0.0, within_s))
        self._process.kill()
        self._process.join()

    def bury(self) -> None:
        """End the process, if it has not ended. Only who listens to it may close its pipe."""
        self.join(0.0)
        self._pipe.close()
