"""A worker process of the local host: calls come in on a pipe, a word goes back when each is done.

Its main thread reads the pipe, and the runtime does the rest. Every second it says that it lives.
"""

import fcntl
import gc
import logging
import multiprocessing
import os
import signal
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock, Thread

import psycopg

from reconciler.contract.errors import BadInput, TracerError, Unreachable
from reconciler.contract.holds import Unloaded
from reconciler.contract.secrets import log_masked
from reconciler.contract.settings import load_settings
from reconciler.contract.worker_store import WorkerStore
from workers.host.descriptors import are_low, raise_descriptor_limit
from workers.runtime.calls import Call, WorkReport
from workers.runtime.holds import note_loaded
from workers.runtime.loading import load_steps
from workers.runtime.runtime import CONNECTIONS, Runtime

log = logging.getLogger("tracer.host")

ALIVE_S = 1.0  # between signs of life
WATCH_S = 0.1  # between looks at the descriptors, of 2 us each
STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Order:
    """A call on its way to a worker process, with the number by which the host knows it."""

    number: int
    step: str
    company_ids: list[int]


@dataclass(frozen=True)
class End:
    """To a worker process: release what is not under way, finish what is, and end.

    What is not done within so many seconds is given up.
    """

    within_s: float


@dataclass(frozen=True)
class Done:
    """A call needs nothing more of its worker process; `left_behind`: its step hangs there."""

    number: int
    left_behind: bool = False


@dataclass(frozen=True)
class Alive:
    """A worker process lives; its event loop has been silent for so many seconds."""

    silent_s: float


@dataclass(frozen=True)
class Exhausted:
    """Hardly any file descriptors are left: a step leaks them, and another process must go on."""


class Worker:
    """The inside of a worker process."""

    def __init__(self, pipe: Connection, database_url: str, name: str) -> None:
        self._pipe, self._url, self._name = pipe, database_url, name
        self._unloaded = list[Unloaded]()
        self._steps = load_steps(on_fault=self._unloaded.append)
        # What is imported stays. Looked through by each full collection, in whichever thread, it
        # stopped all threads for 0.15 s at a time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 1000)
        self._store: WorkerStore | None = None
        self._runtime: Runtime | None = None
        self._unbegun: list[Order] = []  # while no database answers
        self._calls: set[Call] = set()
        self._sending = Lock()
        self._started = self._waited = False

    def run(self) -> None:
        """Work until the host says so, or is gone; then finish what is under way, and end."""
        Thread(target=self._live, name="alive", daemon=True).start()
        Thread(target=self._watch_descriptors, name="descriptors", daemon=True).start()
        within_s = load_settings().grace_s
        with suppress(EOFError, OSError):  # the host may have died with a word unread
            while True:
                if self._runtime or self._connect() or self._pipe.poll(ALIVE_S):
                    word = self._pipe.recv()
                    if isinstance(word, End):
                        within_s = word.within_s
                        break
                    self._unbegun.append(word)
                if self._runtime:
                    self._submit()
        if self._runtime:
            calls = list(self._calls)
            for call in calls:
                self._runtime.stop(call, within_s)
            wait([call.done for call in calls])
            self._runtime.close()

    def _connect(self) -> bool:
        """Connect at the start, or for a call; whether the pipe is all there is to wait for.

        A call that was accepted is not thrown away while no database answers.
        """
        first, self._started = not self._started, True
        if not (first or self._unbegun):
            return True
        try:
            self._store = self._open()
            self._runtime = Runtime(self._store)
        except (Unreachable, psycopg.OperationalError) as error:
            if not self._unbegun:
                return True
            if not self._waited:
                log.warning("waiting: %s", error)
            self._waited = True
            return False
        except BadInput as error:
            for order in self._unbegun:
                log.warning("a call of %s is left to its lease: %s", order.step, error)
                self._say(Done(order.number))
            self._unbegun.clear()
            return True
        if self._waited:
            log.info("the database is back")
        self._submit()
        return True

    def _open(self) -> WorkerStore:
        store = WorkerStore.connect(self._url, max_size=CONNECTIONS)
        store.holder = self._name
        try:
            note_loaded(store, self._steps, self._unloaded)
        except BaseException:
            store.close()
            raise
        return store

    def _submit(self) -> None:
        assert self._runtime
        for order in self._unbegun:
            step = self._steps.get(order.step)
            if step is None:  # its file has changed since the host has loaded it
                self._hand_back(order)
                continue
            call = self._runtime.submit(step, order.company_ids)
            self._calls.add(call)
            call.done.add_done_callback(partial(self._done, order, call))
        self._unbegun.clear()

    def _hand_back(self, order: Order) -> None:
        """Release what cannot be worked here; if the database is away, its lease decides."""
        assert self._store
        with suppress(psycopg.OperationalError):
            self._store.release(order.step, order.company_ids)
        self._say(Done(order.number))

    def _done(self, order: Order, call: Call, done: "Future[WorkReport]") -> None:
        self._calls.discard(call)
        error = done.exception()
        if isinstance(error, psycopg.OperationalError | TracerError):
            log.warning("a call of %s is left to its lease: %s", order.step, error)
        elif error:
            log.error("a call of %s is left to its lease", order.step, exc_info=error)
        if stale := call.report.stale:
            log.info("%s: %d were no longer this worker's, and were refused", order.step, stale)
        self._say(Done(order.number, bool(call.report.left_behind)))

    def _live(self) -> None:
        while not Event().wait(ALIVE_S):
            self._say(Alive(self._runtime.silent_s if self._runtime else 0.0))

    def _watch_descriptors(self) -> None:
        while not are_low():
            Event().wait(WATCH_S)
        self._say(Exhausted())

    def _say(self, word: Done | Alive | Exhausted) -> None:
        with self._sending, suppress(OSError):  # the host is gone: the pipe's reader sees it
            self._pipe.send(word)


def heed_signals() -> None:
    """A step's own child ends when it is told to: `multiprocessing` ends its pools so."""
    for stop in STOPS:
        signal.signal(stop, signal.SIG_DFL)


def child_main(pipe: Connection, database_url: str, name: str, lock: Path) -> None:
    """A worker process. It holds `lock` for as long as it lives, whatever ends it."""
    for stop in STOPS:  # they reach the whole family; the host decides
        signal.signal(stop, lambda *_: None)  # not SIG_IGN, which a step's programs would inherit
    os.register_at_fork(after_in_child=heed_signals)
    # The host ends this process as a daemon, but a step may have children: `multiprocessing`
    # refuses them to daemons.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    raise_descriptor_limit()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    log_masked()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        Worker(pipe, database_url, name).run()
