"""The calls of a `def` step: they are made on threads."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from contextlib import nullcontext
from math import inf
from threading import Lock, Thread, current_thread
from typing import Any

from workers.kit import Step
from workers.runtime.calls import Call, Turn, start_clocks
from workers.runtime.lane import Lane
from workers.runtime.outcome import TookTooLong, WasStopped
from workers.runtime.process import Process

# A call that takes longer waits for something: then more threads work while there is work.
WAITS_S = 0.005
WATCH_EVERY_S = 0.25  # at most, between looks at whether a call takes too long
IDLE_S = 10.0  # a thread that finds no work for so long ends


class ThreadLane(Lane):
    """A `def` step: its calls are made on threads, more of them while calls wait than one.

    Where calls do not wait, a second thread costs more than it does: 36 us of CPU a row instead of
    23, for the changes between the two. Python cannot end a thread: one that hangs is left behind,
    and another takes its place.
    """

    def __init__(self, step: Step, process: Process) -> None:
        super().__init__(step, process, process.beginners)
        self._threads: dict[Thread, list[Turn]] = {}  # and what each works on
        self._waits = False  # whether the last call that ended, or all under way, waited
        self._resources: dict[str, Any] | None = None
        self._timers: set[Callable[[], float | None]] = set()

    def _open(self) -> None:
        """The first call opens its resources: it has a thread to wait on."""

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
        turns = self._next(me)
        while turns:
            found = self._call(turns)
            with self._changed:
                if me not in self._threads:  # left behind: others have ended these
                    return
                self._waits = turns[0].running_s > WAITS_S
                self._threads[me] = []
                following = self._threads[me] = self._take_wanted()
            self._end(list(self._came_to(turns, found)))
            turns = following or self._next(me)

    def _next(self, me: Thread) -> list[Turn]:
        """Wait for work; nothing, once there was none for `IDLE_S`."""
        with self._changed:
            while not (turns := self._take_wanted()):
                if not self._changed.wait(IDLE_S) and not self._ready:
                    del self._threads[me]
                    return []
            self._threads[me] = turns
        return turns

    def _take_wanted(self) -> list[Turn]:
        """What one more thread shall work on, if one shall. Call it with `_changed` held."""
        return self._take() if self._waits or not any(self._threads.values()) else []

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

    def _give_up(self, call: Call) -> None:
        with self._changed:
            running = [
                t for t, turns in self._threads.items() if any(o.call is call for o in turns)
            ]
            given_up = [self._threads.pop(thread) for thread in running]
        for turns in given_up:
            self._leave_behind(turns, WasStopped())

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
            if not self._ready or self._wakes_at < inf:
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
