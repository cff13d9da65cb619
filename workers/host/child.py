"""One worker process of the local host, and the pipe between the two."""

import logging
import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import psycopg

from reconciler.contract.errors import BadInput, Unreachable
from reconciler.contract.worker_store import WorkerStore
from workers.runtime.lifecycle import WorkReport, work
from workers.runtime.loading import load_steps

log = logging.getLogger("tracer.host")

CONTEXT = multiprocessing.get_context("spawn")  # threads and fork do not mix


@dataclass(frozen=True)
class Call:
    """One spawned call: a step and the companies to work."""

    step: str
    company_ids: list[int]


class Child:
    """One worker process and the pipe to it."""

    def __init__(self, database_url: str) -> None:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process: BaseProcess = CONTEXT.Process(
            target=child_main, args=(theirs, database_url), daemon=True
        )
        self._process.start()
        theirs.close()

    def do(self, call: Call, limit_s: float) -> bool:
        """Have one call done; False when the process is gone, or not to be used again."""
        try:
            self._pipe.send(call)
            if not self._pipe.poll(limit_s):
                log.warning("%s took longer than %.0f s: its process is ended", call.step, limit_s)
            elif self._pipe.recv():
                log.warning("%s hangs for a company: its process is ended", call.step)
            else:
                return True
        except (EOFError, OSError):
            log.warning("a worker process died during %s: another takes its place", call.step)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        return False


def child_main(pipe: Connection, database_url: str) -> None:
    """A worker process: calls in, a word back after each, until the host is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the host decides
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    steps = load_steps()
    store: WorkerStore | None = None
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):  # it may have died with an answer unread
            return
        report = WorkReport()
        try:
            store = store or wait_for_database(database_url, pipe)
            report = work(store, steps[call.step], call.company_ids)
            log.debug("%s: %s", call.step, report)
        except (psycopg.OperationalError, BadInput) as error:
            log.warning("a call of %s is left to its lease: %s", call.step, error)
        except EOFError:
            return
        try:
            pipe.send(report.left_behind)
        except OSError:
            return


def wait_for_database(url: str, pipe: Connection) -> WorkerStore:
    """Connect, however long that takes: a call that was accepted is not thrown away.

    Raises:
        BadInput: the schema is not the one that this code knows.
        EOFError: the host is gone.
    """
    waited = False
    while True:
        try:
            store = WorkerStore.connect(url)
        except Unreachable as error:
            if not waited:
                log.warning("waiting: %s", error)
            waited = True
            if pipe.poll(1.0):  # nothing is sent to a busy child: it is the end
                raise EOFError from error
            continue
        if waited:
            log.info("the database is back")
        return store
