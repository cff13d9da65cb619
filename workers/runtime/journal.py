"""Notes calls before they are sent, and keeps their answers: for all calls of a worker process
together, from one thread."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from reconciler.contract.orders import Order, Receipt
from reconciler.contract.worker_store import Attempt
from workers.noting import NotOurs
from workers.runtime.calls import Verbs
from workers.runtime.patience import BEGIN_PATIENCE_S, RESULTS_PATIENCE_S, patiently

# Calls wait so long at most for others, so that one statement notes many.
GATHER_S = 0.003
GATHER = 100  # entries for which nobody waits any longer


@dataclass(eq=False)
class Entry:
    """Something to write; exactly one of the two is given. `done` gives what came of it."""

    sends: Sequence[Attempt] = ()
    receipt: Receipt | None = None
    done: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.Future())


class Journal:
    """The calls of a worker process on their way to the database. Its futures are the loop's."""

    def __init__(self, store: Verbs, loop: asyncio.AbstractEventLoop) -> None:
        self._store, self._loop = store, loop
        self._entries: list[Entry] = []
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None

    def put(self, entry: Entry) -> "asyncio.Future[Any]":
        """Have an entry written, also if nobody waits for what comes of it."""
        with self._changed:
            self._entries.append(entry)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()
            if len(self._entries) in (1, GATHER):
                self._changed.notify()
        return entry.done

    def close(self) -> None:
        """Return when all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while entries := self._due():
            settled = [*self._send(entries), *self._keep(entries)]
            self._loop.call_soon_threadsafe(settle, settled)

    def _due(self) -> list[Entry]:
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closed)
            self._changed.wait_for(lambda: len(self._entries) >= GATHER or self._closed, GATHER_S)
            entries, self._entries = self._entries, []
            return entries

    def _send(self, entries: Sequence[Entry]) -> list[tuple[Entry, Any]]:
        sending = [entry for entry in entries if entry.sends]
        attempts = [attempt for entry in sending for attempt in entry.sends]
        if not attempts:
            return []
        sent = attempted(lambda: self._store.send(attempts), BEGIN_PATIENCE_S)
        if isinstance(sent, BaseException):
            return [(entry, sent) for entry in sending]
        return [(entry, tries_of(entry, sent)) for entry in sending]

    def _keep(self, entries: Sequence[Entry]) -> list[tuple[Entry, Any]]:
        receiving = [entry for entry in entries if entry.receipt]
        receipts = [entry.receipt for entry in receiving if entry.receipt]
        if not receipts:
            return []
        came = attempted(lambda: self._store.receive(receipts), RESULTS_PATIENCE_S)
        return [(entry, came) for entry in receiving]


@dataclass(frozen=True)
class Notes:
    """The journal as one call of a step has it: see `workers.paid.Journal`."""

    journal: Journal
    attempts: Sequence[Attempt]

    @property
    def send_within_s(self) -> float:
        """The lease was renewed less than half of its length ago, or the note is refused."""
        return min(attempt.lease_s for attempt in self.attempts) / 2

    def send(self, orders: Sequence[Order]) -> Awaitable[list[int]]:  # noqa: ARG002 - the attempts have them
        """Note that the call is about to be sent."""
        return self.journal.put(Entry(sends=self.attempts))

    def receive(self, receipt: Receipt) -> Awaitable[None]:
        """Keep an answer."""
        return self.journal.put(Entry(receipt=receipt))


def attempted(write: Callable[[], Any], patience_s: float) -> Any:
    """What a write came to, or what it raised: it is the calls' to raise."""
    try:
        return patiently(write, patience_s)
    except BaseException as error:  # noqa: BLE001
        return error


def tries_of(entry: Entry, sent: dict[Any, int]) -> list[int] | NotOurs:
    """Which call of its order each is; one that was not won makes all of the call not ours."""
    ids = [attempt.order.id for attempt in entry.sends if attempt.order]
    won = {i: sent[i] for i in ids if i in sent}
    return list(won.values()) if len(won) == len(ids) else NotOurs(won)


def settle(settled: Sequence[tuple[Entry, Any]]) -> None:
    """Tell those who wait; one that was timed out meanwhile waits no more."""
    for entry, found in settled:
        if entry.done.done():
            continue
        if isinstance(found, BaseException):
            entry.done.set_exception(found)
        else:
            entry.done.set_result(found)
