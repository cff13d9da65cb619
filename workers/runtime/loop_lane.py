"""The calls of an `async def` step: tasks of the process's event loop."""

import asyncio
from concurrent.futures import wait
from typing import Any

from workers.kit import Step
from workers.runtime.calls import GRACE_S, Call, Turn, start_clocks
from workers.runtime.lane import Lane
from workers.runtime.ledger import Entry
from workers.runtime.outcome import TookTooLong, WasStopped
from workers.runtime.process import Process

# Calls that are started before the event loop looks at its timers and sockets again. To start an
# HTTP call is 0.3 ms of work, and 1 ms with a new socket: 2,000 at once blocked the loop for 0.6 s.
BURST = 8


class LoopLane(Lane):
    """An `async def` step: its calls are tasks of the process's event loop."""

    def __init__(self, step: Step, process: Process) -> None:
        super().__init__(step, process, process.loop_beginner)
        self._running: dict[asyncio.Task[None], list[Turn]] = {}
        self._ended: list[Entry] = []  # in this turn of the loop
        self._watching = False
        self._filling = False  # whether `_fill` goes on at the loop's next turn

    def _work(self) -> None:
        self._process.loop.call_soon_threadsafe(self._fill)

    def _open(self) -> None:
        opening = asyncio.run_coroutine_threadsafe(self._opened(), self._process.loop)
        # What is at fault is raised where the function is called.
        wait([opening], self.step.timeout_s)

    async def _opened(self) -> tuple[dict[str, Any], Any]:
        """The resources, and the session of what it pays through."""
        resources = await self._process.resources.of(self.step.signature.resources)
        session = await self._process.resources.http() if self.step.signature.paid else None
        return resources, session

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
                resources, session = await self._opened()
                given = {**self._inputs(turns), **resources, **self._paid(turns, session)}
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

    def _give_up(self, call: Call) -> None:
        for task, turns in list(self._running.items()):
            if any(turn.call is call for turn in turns):
                del self._running[task]
                task.cancel()
                self._end(list(self._came_to(turns, WasStopped())))

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
