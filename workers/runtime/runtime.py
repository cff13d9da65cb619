"""The runtime of a worker process: the local host's and a Modal container's are the same."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Thread
from time import monotonic

from workers.kit import Step
from workers.resources import Resources
from workers.runtime.calls import Call, Verbs
from workers.runtime.heart import Heart
from workers.runtime.holds import Holds
from workers.runtime.isolation import Isolation
from workers.runtime.journal import Journal
from workers.runtime.lane import Lane
from workers.runtime.ledger import Ledger
from workers.runtime.loop_lane import LoopLane
from workers.runtime.pacer import Pacer
from workers.runtime.process import Process
from workers.runtime.thread_lane import ThreadLane

log = logging.getLogger("tracer.worker")

# Connections of a process: for the heart, the ledger, the journal, and those that begin calls. They
# share them: the heart has a statement in a third of a lease.
CONNECTIONS = 4
BEGINNERS = 2
SDK_THREADS = 500  # of `paid.call`; each waits for a provider
PULSE_S = 0.5


class Runtime:
    """Works many calls side by side, on one event loop and a store of `CONNECTIONS` connections.

    The loop has a thread of its own. So whoever asks, a pipe's reader or Modal's own event loop,
    never waits for a step, and no step for it.
    """

    def __init__(self, store: Verbs) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(SDK_THREADS, "sdk"))
        self._thread = Thread(target=self._run, name="loop", daemon=True)
        heart, holds, pacer = Heart(store), Holds(store), Pacer(store)
        self._process = Process(
            store=store,
            heart=heart,
            ledger=Ledger(store, heart, holds, pacer),
            journal=Journal(store, self._loop),
            holds=holds,
            isolation=Isolation(),
            pacer=pacer,
            loop=self._loop,
            resources=Resources(),
            beginners=ThreadPoolExecutor(BEGINNERS, "begin"),
            loop_beginner=ThreadPoolExecutor(1, "begin-async"),
        )
        self._lanes: dict[str, Lane] = {}
        self._turn = Lock()
        self._pulse_at = monotonic()
        self._thread.start()
        self._loop.call_soon_threadsafe(self._pulse)

    def submit(self, step: Step, company_ids: Sequence[int], call_id: str | None = None) -> Call:
        """Take a call: begin what is QUEUED of `company_ids`, work each, write what came of it.

        A company that fails does so alone. `call_id` is what the call is known by where it was
        spawned. `Call.done` raises psycopg.OperationalError if the database was away for
        `BEGIN_PATIENCE_S`, or, when there was something to write, for `RESULTS_PATIENCE_S`.
        """
        call = Call(step, list(company_ids), call_id)
        self._lane(step).submit(call)
        return call

    def stop(self, call: Call, within_s: float) -> None:
        """Write what is done and under way of a call, and release what is not.

        A function that runs for more than `within_s` seconds is given up: its attempt has failed,
        and does not count.
        """
        self._lane(call.step).stop(call, within_s)

    @property
    def silent_s(self) -> float:
        """Seconds since the event loop last ran: a step that blocks it stops all the others."""
        return max(0.0, monotonic() - self._pulse_at - PULSE_S)

    def close(self) -> None:
        """Write what is there, and end; calls that are not done are left to their leases."""
        self._process.beginners.shutdown()
        self._process.loop_beginner.shutdown()
        self._process.journal.close()
        self._process.ledger.close()
        self._process.heart.close()
        closing = self._process.resources.aclose()
        asyncio.run_coroutine_threadsafe(closing, self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _lane(self, step: Step) -> Lane:
        with self._turn:
            if step.name not in self._lanes:
                kind = LoopLane if step.is_async else ThreadLane
                self._lanes[step.name] = kind(step, self._process)
            return self._lanes[step.name]

    def _run(self) -> None:
        """Run the event loop until `close` stops it.

        SystemExit and KeyboardInterrupt of a task come out of the loop. A step's function does not
        run as one, but what it gathers does, and so does the opening of a resource.
        """
        while True:
            try:
                self._loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
                log.warning("a task has raised %s: the event loop goes on", type(error).__name__)
            else:
                return

    def _pulse(self) -> None:
        self._pulse_at = monotonic()
        self._loop.call_later(PULSE_S, self._pulse)
