"""The calls of one step in a worker process: which are begun, and how its function is called."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread, current_thread
from typing import Any

from reconciler.contract.worker_store import Attempt, Failure
from workers.kit import Step
from workers.resources import Resources
from workers.runtime.calls import GRACE_S, Call, Turn, Verbs, start_clocks
from workers.runtime.heart import Heart
from workers.runtime.ledger import Entry, Ledger
from workers.runtime.outcome import TookTooLong, outcomes, taken
from workers.runtime.patience import BEGIN_PATIENCE_S, patiently

# A call that takes longer waits for something: then more threads work while there is work.
WAITS_S = 0.005
# Calls that are started before the event loop looks at its timers and sockets again. To start an
# HTTP call is 0.3 ms of work: 2,000 at once blocked the loop for 0.6 s.
BURST = 20
WATCH_EVERY_S = 0.25  # at most, between looks at whether a call takes too long
IDLE_S = 10.0  # a thread that finds no work for so long ends


@dataclass
class Process:
    """What all lanes of a worker process share."""

    store: Verbs
    heart: Heart
    ledger: Ledger
    loop: asyncio.AbstractEventLoop
    resources: Resources
    beginners: Executor
    computing: Lock = field(default_factory=Lock)  # held by the one call that computes


class Lane(ABC):
    """The calls of one step.

    A call is begun once fewer companies than `Step.companies_at_once` are in hand: so the functions
    do not wait for the database, and what is begun is worked soon.
    """

    def __init__(self, step: Step, process: Process) -> None:
        self.step = step
        self._process = process
        self._waiting: deque[Call] = deque()
        self._ready: deque[Turn] = deque()
        self._in_hand = 0  # companies of calls that are begun, or about to be
        self._changed = Condition()

    @abstractmethod
    def _work(self) -> None:
        """Call the function for what is ready, as far as there is room."""

    def submit(self, call: Call) -> None:
        """Take a call; it begins when there is room."""
        with self._changed:
            self._waiting.append(call)
            self._admit()

    def stop(self, call: Call) -> None:
        """Call the function for no more companies of the call: they are left to their leases."""
        call.stopped = True
        with self._changed:
            unbegun = call in self._waiting
            if unbegun:
                self._waiting.remove(call)
            dropped = [turn for turn in self._ready if turn.call is call]
            self._ready = deque(turn for turn in self._ready if turn.call is not call)
        if unbegun:
            call.begun(0)
        self._drop(dropped)

    def _admit(self) -> None:
        while self._waiting and self._in_hand < self.step.companies_at_once:
            call = self._waiting.popleft()
            self._in_hand += len(call.company_ids)
            self._process.ledger.expect(len(call.company_ids))
            self._process.beginners.submit(self._begin, call)

    def _begin(self, call: Call) -> None:
        """Begin a call, and have its companies worked."""
        given = len(call.company_ids)
        try:
            attempts = (
                [] if call.stopped else patiently(lambda: self._begun(call), BEGIN_PATIENCE_S)
            )
        except BaseException as error:  # noqa: BLE001 - it is the call's to raise
            self._release(given)
            call.give_up(error)
            return
        self._release(given - len(attempts))
        call.begun(len(attempts))
        turns = [Turn(attempt, call) for attempt in attempts]
        self._process.heart.hold(turns)
        self._ready_to_work(turns)
        if call.stopped:  # while it was begun
            self.stop(call)
        self._work()

    def _begun(self, call: Call) -> list[Attempt]:
        inputs = {wanted.parameter: wanted.table for wanted in self.step.inputs}
        return self._process.store.begin(self.step.name, call.company_ids, call.call_id, inputs)

    def _ready_to_work(self, turns: Sequence[Turn]) -> None:
        """Read the inputs; what cannot do without one has ended."""
        ready, ended = list[Turn](), list[Entry]()
        for turn in turns:
            inputs = taken(self.step, turn.attempt)
            if isinstance(inputs, Failure):
                ended.append((turn, inputs))
            else:
                turn.inputs = inputs
                ready.append(turn)
        with self._changed:
            self._ready += ready
        self._end(ended)

    def _take(self) -> list[Turn]:
        """What the next call of the function is for; those that are ours no more are not paid for.

        Call it with `_changed` held.
        """
        chosen, stale = list[Turn](), list[Turn]()
        while self._ready and len(chosen) < (self.step.bulk or 1):
            turn = self._ready.popleft()
            (chosen if self._process.heart.holds(turn) else stale).append(turn)
        if stale:
            self._process.loop.call_soon_threadsafe(self._drop, stale)
        return chosen

    def _drop(self, turns: Sequence[Turn]) -> None:
        """Let go of turns whose function was not called."""
        for turn in turns:
            lost = not self._process.heart.holds(turn)
            self._process.heart.release([turn])
            turn.call.settle(1, stale=int(lost))
        self._release(len(turns))

    def _release(self, companies: int) -> None:
        """Note that so many companies are in hand no more, without an outcome."""
        self._process.ledger.expect(-companies)
        with self._changed:
            self._in_hand -= companies
            self._admit()

    def _end(self, entries: Sequence[Entry]) -> None:
        """Have written what attempts came to; their place is free for others."""
        self._process.ledger.put(entries)
        with self._changed:
            self._in_hand -= len(entries)
            self._admit()

    def _came_to(self, turns: Sequence[Turn], found: Any) -> Iterator[Entry]:
        """What one call of the function came to, for each of its attempts."""
        attempts = [turn.attempt for turn in turns]
        return zip(turns, outcomes(self.step, attempts, found), strict=True)

    def _leave_behind(self, turns: Sequence[Turn]) -> None:
        """Give up a call of the function that hangs."""
        turns[0].call.settle(0, left_behind=1)
        self._end(list(self._came_to(turns, TookTooLong(self.step))))

    def _subject(self, turns: Sequence[Turn]) -> Any:
        """The function's first argument."""
        companies = [turn.attempt.company for turn in turns]
        return companies if self.step.bulk else companies[0]

    def _inputs(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """The earlier results for one call of the function; of a bulk step, by company id."""
        if not self.step.bulk:
            return turns[0].inputs
        return {
            wanted.parameter: {t.attempt.company.id: t.inputs[wanted.parameter] for t in turns}
            for wanted in self.step.inputs
        }


class LoopLane(Lane):
    """An `async def` step: its calls are tasks of the process's event loop."""

    def __init__(self, step: Step, process: Process) -> None:
        super().__init__(step, process)
        self._running: dict[asyncio.Task[None], list[Turn]] = {}
        self._ended: list[Entry] = []  # in this turn of the loop
        self._watching = False
        self._filling = False  # whether `_fill` goes on at the loop's next turn

    def _work(self) -> None:
        self._process.loop.call_soon_threadsafe(self._fill)

    def _fill(self) -> None:
        """Start what there is room for, `BURST` calls at a time."""
        if self._filling:
            return
        for _ in range(BURST):
            if len(self._running) >= self.step.calls_at_once:
                return
            with self._changed:
                turns = self._take()
            if not turns:
                return
            start_clocks(turns)
            self._running[self._process.loop.create_task(self._call(turns))] = turns
            if not self._watching:
                self._watching = True
                self._process.loop.call_later(GRACE_S, self._watch)
        self._filling = True
        self._process.loop.call_soon(self._fill_on)

    def _fill_on(self) -> None:
        self._filling = False
        self._fill()

    async def _call(self, turns: list[Turn]) -> None:
        try:
            async with asyncio.timeout(self.step.timeout_s) as limit:
                resources = await self._process.resources.of(self.step.signature.resources)
                given = {**self._inputs(turns), **resources}
                found = await self.step.function(self._subject(turns), **given)
        except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
            found = TookTooLong(self.step) if limit.expired() else error
        task = asyncio.current_task()
        if task and self._running.pop(task, None):
            if not self._ended:
                self._process.loop.call_soon(self._end_together)
            self._ended += self._came_to(turns, found)

    def _end_together(self) -> None:
        """Calls end in bursts: to look once at each takes locks once."""
        ended, self._ended = self._ended, []
        self._end(ended)
        self._fill()

    def _watch(self) -> None:
        """Give up tasks that go on after they were cancelled."""
        for task, turns in list(self._running.items()):
            if turns[0].overdue(GRACE_S):
                del self._running[task]
                self._leave_behind(turns)
        self._watching = bool(self._running)
        if self._running:
            self._process.loop.call_later(GRACE_S, self._watch)
        self._fill()


class ThreadLane(Lane):
    """A `def` step: its calls are made on threads, more of them while calls wait than one.

    Where calls do not wait, a second thread costs more than it does: 36 us of CPU a row instead of
    23, for the changes between the two. Python cannot end a thread: one that hangs is left behind,
    and another takes its place.
    """

    def __init__(self, step: Step, process: Process) -> None:
        super().__init__(step, process)
        self._threads: dict[Thread, list[Turn]] = {}  # and what each works on
        self._waits = False  # whether the last call that ended, or all under way, waited
        self._resources: dict[str, Any] | None = None
        self._timers: set[Callable[[], float | None]] = set()

    def _work(self) -> None:
        with self._changed:
            if self._ready and not self._threads:
                self._start()
            self._wake()
        self._repeat(self._grow)
        self._repeat(self._watch)

    def _wake(self) -> None:
        """Have idle threads look for work. Call it with `_changed` held."""
        self._changed.notify(len(self._ready) if self._waits else 1)

    def _start(self) -> None:
        thread = Thread(target=self._run, name=self.step.name, daemon=True)
        self._threads[thread] = []
        thread.start()

    def _run(self) -> None:
        me = current_thread()
        while turns := self._next(me):
            found = self._call(turns)
            with self._changed:
                if me not in self._threads:  # left behind: others have ended these
                    return
                self._waits = turns[0].running_s > WAITS_S
                self._threads[me] = []
            self._end(list(self._came_to(turns, found)))

    def _next(self, me: Thread) -> list[Turn]:
        """Wait for work; nothing, once there was none for `IDLE_S`."""
        with self._changed:
            while not (turns := self._take() if self._wanted() else []):
                if not self._changed.wait(IDLE_S) and not self._ready:
                    del self._threads[me]
                    return []
            self._threads[me] = turns
        return turns

    def _wanted(self) -> bool:
        """Whether one more thread shall work. Call it with `_changed` held."""
        return self._waits or not any(self._threads.values())

    def _call(self, turns: list[Turn]) -> Any:
        try:
            given = {**self._inputs(turns), **self._shared()}
            with self._process.computing if self.step.cpu else nullcontext():
                start_clocks(turns)  # now: it has waited for the process's other steps
                return self.step.function(self._subject(turns), **given)
        except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
            return error

    def _shared(self) -> dict[str, Any]:
        """The resources, which only the event loop opens."""
        if self._resources is None:
            wanted = self.step.signature.resources
            self._resources = self._on_loop(self._process.resources.of(wanted)) if wanted else {}
        return self._resources

    def _on_loop(self, coroutine: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        opening = asyncio.run_coroutine_threadsafe(coroutine, self._process.loop)
        if not wait([opening], self.step.timeout_s).done:
            opening.cancel()
            raise TookTooLong(self.step)
        return opening.result()

    def _repeat(self, look: Callable[[], float | None]) -> None:
        """Have the event loop call `look` again and again, as long as it returns a wait."""

        def again() -> None:
            wait_s = look()
            if wait_s is None:
                self._timers.discard(look)
            else:
                self._process.loop.call_later(wait_s, again)

        def begin() -> None:
            if look not in self._timers:
                self._timers.add(look)
                self._process.loop.call_later(WAITS_S, again)

        self._process.loop.call_soon_threadsafe(begin)

    def _grow(self) -> float | None:
        """Have twice as many threads, while work waits for threads that all wait themselves."""
        with self._changed:
            if not self._ready:
                return None
            working = [turns[0] for turns in self._threads.values() if turns]
            if all(turn.running_s > WAITS_S for turn in working):
                self._waits = True
                self._wake()
                idle, room = len(self._threads) > len(working), self._room()
                for _ in range(0 if idle else min(room, max(1, len(working)), len(self._ready))):
                    self._start()
            return WAITS_S

    def _room(self) -> int:
        """How many threads may be started."""
        return self.step.calls_at_once - len(self._threads)

    def _watch(self) -> float | None:
        """Leave behind threads whose call takes too long."""
        with self._changed:
            late = {t: turns for t, turns in self._threads.items() if turns and turns[0].overdue()}
            for thread in late:
                del self._threads[thread]
            if late and self.step.cpu:
                self._process.computing = Lock()  # the thread that hangs holds the other
            if self._ready and not self._threads:
                self._start()
            busy = any(self._threads.values()) or self._ready
        for turns in late.values():
            self._leave_behind(turns)
        return min(WATCH_EVERY_S, self.step.timeout_s / 2) if busy else None
