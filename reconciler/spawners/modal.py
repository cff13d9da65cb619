"""Spawns calls on Modal: the deployed app's name and the function's are all that it knows."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import grpclib
import modal
from grpclib.exceptions import StreamTerminatedError

from reconciler.contract.store import Chunk
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unknown

Place = tuple[str, str]  # app name, function name
CallFunction = modal.Function[[list[int]], None, None]

AT_ONCE = 100  # requests; more of them at a time are no faster (about 500 a second)
GRACE_S = 2.0  # without any answer, while another function's calls have all been answered

# What says for certain that this call was not started. Anything else may have landed.
REFUSALS = (
    modal.exception.NotFoundError,
    modal.exception.AuthError,
    modal.exception.PermissionDeniedError,
    modal.exception.InvalidError,
    modal.exception.ConflictError,
    modal.exception.ResourceExhaustedError,
    modal.exception.UnimplementedError,
)
FAULTS = (
    modal.exception.Error,
    grpclib.GRPCError,
    StreamTerminatedError,
    OSError,
    TimeoutError,
)


@dataclass(eq=False)
class Sending:
    """A chunk on its way. It can be `sent` and yet have no outcome, and only then is it unknown."""

    chunk: Chunk
    sent: bool = False
    outcome: Outcome | None = None


class ModalSpawner:
    """One `Function.spawn` per chunk, all of a tick at once, within `timeout_s` seconds in all.

    The client has no such bound: an unreachable server takes 57 s, a silent one 160 s. Nor does a
    function that does not answer keep those of others waiting, see `GRACE_S`.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        # A throttled request is retried for ever otherwise: it is the tick that waits, and says so.
        os.environ.setdefault("MODAL_MAX_THROTTLE_WAIT", "0")
        self._timeout_s = timeout_s
        self._functions: dict[Place, CallFunction] = {}
        self._requests = asyncio.Semaphore(AT_ONCE)
        self._answers = 0
        self._connecting: Future[modal.Client] | None = None

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        """See `Spawner.spawn`."""
        calls = [Sending(chunk) for chunk in chunks]
        asyncio.run(self._send_all(calls))
        return [call.outcome or self._unanswered(call) for call in calls]

    def recall(self, call_ids: Sequence[str]) -> list[str]:
        """See `Spawner.recall`."""
        gone: list[str] = []
        asyncio.run(self._within_bounds([self._recall(call_id, gone) for call_id in call_ids]))
        return gone

    async def _send_all(self, calls: Sequence[Sending]) -> None:
        lanes = by_place(calls).items()
        await self._within_bounds([self._send_to(place, of_place) for place, of_place in lanes])

    async def _send_to(self, place: Place, calls: Sequence[Sending]) -> None:
        """Send one function's calls, as many as may wait there; before that, nothing is sent."""
        try:
            function = await self._look_up(place)
            waiting = (await function.get_current_stats.aio()).backlog
        except FAULTS as error:
            self._refuse(place, calls, error)
            return
        room = max(0, calls[0].chunk.max_waiting - waiting)
        for call in calls[room:]:
            call.outcome = Refused(f"{waiting} calls of it are waiting on Modal already")
        await asyncio.gather(*(self._send(place, function, call) for call in calls[:room]))

    async def _send(self, place: Place, function: CallFunction, call: Sending) -> None:
        async with self._requests:
            call.sent = True
            try:
                spawned = await function.spawn.aio(call.chunk.company_ids)
            except REFUSALS as error:
                self._refuse(place, [call], error)
            except FAULTS as error:
                call.outcome = Unknown(said(error))
            else:
                call.outcome = Spawned(spawned.object_id)
            self._answers += 1

    async def _look_up(self, place: Place) -> CallFunction:
        """The deployed function; asked for once per process, since that is a round trip."""
        if place not in self._functions:
            await self._connect()
            function: CallFunction = modal.Function.from_name(*place)
            await function.hydrate.aio()
            self._functions[place] = function
        return self._functions[place]

    async def _connect(self) -> None:
        """Wait for the client, which a thread connects: an attempt that is cut off goes on in the
        client all the same, for 57 s, and each of them ends in a traceback there. So the next tick
        waits for the same one."""
        if not self._connecting or (self._connecting.done() and self._connecting.exception()):
            self._connecting = Future()
            self._connecting.set_running_or_notify_cancel()
            Thread(target=_connect, args=(self._connecting,), daemon=True).start()
        await asyncio.wrap_future(self._connecting)

    def _refuse(self, place: Place, calls: Sequence[Sending], error: BaseException) -> None:
        if isinstance(error, modal.exception.NotFoundError):
            self._functions.pop(place, None)  # it may be deployed anew, under another id
        for call in calls:
            call.outcome = Refused(said(error))

    def _unanswered(self, call: Sending) -> Outcome:
        if call.sent:
            return Unknown(f"Modal did not answer within {self._timeout_s:g} s")
        return Refused(f"not sent: Modal did not answer within {self._timeout_s:g} s")

    async def _recall(self, call_id: str, gone: list[str]) -> None:
        async with self._requests:
            try:
                await modal.FunctionCall.from_id(call_id).cancel.aio()
            except modal.exception.NotFoundError:
                pass  # its results are kept for seven days, and it with them
            except FAULTS:
                return
            gone.append(call_id)
            self._answers += 1

    async def _within_bounds(self, lanes: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Run the lanes side by side, and end those that go on for too long."""
        self._requests = asyncio.Semaphore(AT_ONCE)
        running = {asyncio.ensure_future(lane) for lane in lanes}
        all_of_them, clock = len(running), asyncio.get_running_loop().time
        deadline = clock() + self._timeout_s
        while running and (left := deadline - clock()) > 0:
            answered = self._answers
            alone = len(running) == all_of_them
            patience = left if alone else min(left, GRACE_S)
            done, running = await asyncio.wait(
                running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            for lane in done:
                lane.result()
            if not alone and not done and answered == self._answers:
                break
        for lane in running:
            lane.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _connect(connecting: "Future[modal.Client]") -> None:
    try:
        connecting.set_result(modal.Client.from_env())
    except (*FAULTS, CancelledError) as error:  # the latter when the program ends meanwhile
        connecting.set_exception(error)


def by_place(calls: Iterable[Sending]) -> dict[Place, list[Sending]]:
    """The calls of each function."""
    found: dict[Place, list[Sending]] = {}
    for call in calls:
        found.setdefault((call.chunk.app_name, call.chunk.function_name), []).append(call)
    return found


def said(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
