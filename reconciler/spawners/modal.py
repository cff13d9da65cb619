"""Spawns calls on Modal: the deployed app's name and the function's are all that it knows."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

import modal

from reconciler.contract.claimed import Chunk
from reconciler.spawners.modal_lane import AT_ONCE, Lane, Place, Sending
from reconciler.spawners.protocol import Answer, Outcome, Unanswered

T = TypeVar("T")

# A tick waits no longer for answers: what comes later, the next one writes down.
ANSWER_WITHIN_S = 1.0
# What will not be different the next time: there is nothing left to cancel.
GONE = (
    modal.exception.NotFoundError,
    modal.exception.InvalidError,
    modal.exception.ConflictError,
    modal.exception.UnimplementedError,
)


class ModalSpawner:
    """One `Function.spawn` per chunk, in a lane per function that goes on between ticks.

    Each call is answered within `timeout_s` seconds. The client has no such bound (an unreachable
    server takes 57 s, a silent one 160 s), so one that is not answered by then is given up.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        # A throttled request is retried for ever otherwise: it is the tick that waits, and says so.
        os.environ.setdefault("MODAL_MAX_THROTTLE_WAIT", "0")
        self._timeout_s = timeout_s
        self._lanes: dict[Place, Lane] = {}
        self._unanswered: list[Sending] = []
        self._sending: set[Future[None]] = set()
        self._cancelling: dict[str, Future[bool]] = {}
        self._connecting: asyncio.Task[modal.Client] | None = None
        self._cancels = asyncio.Semaphore(AT_ONCE)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="modal-spawner", daemon=True)
        self._thread.start()

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        """See `Spawner.spawn`."""
        calls = [Sending(chunk) for chunk in chunks]
        started = self._start(self._send(calls))
        self._sending.add(started)
        wait([started], ANSWER_WITHIN_S)
        answers = [call.outcome or Unanswered() for call in calls]
        answered = zip(calls, answers, strict=True)
        self._unanswered += [call for call, answer in answered if isinstance(answer, Unanswered)]
        return answers

    def late(self, settle: bool = False) -> list[Answer]:
        """See `Spawner.late`."""
        if settle:
            wait(self._sending)
            wait(self._cancelling.values())
        self._sending = {started for started in self._sending if not started.done()}
        calls, self._unanswered = self._unanswered, []
        answers = []
        for call in calls:
            if call.outcome:
                answers.append((call.chunk, call.outcome))
            else:
                self._unanswered.append(call)
        return answers

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        """See `Spawner.cancel`; a cancellation that takes long is found done by a later tick."""
        new = [call_id for call_id in call_ids if call_id not in self._cancelling]
        started = {call_id: self._start(self._cancel(call_id)) for call_id in new}
        self._cancelling |= started
        wait(started.values(), ANSWER_WITHIN_S)
        done = {call_id: gone for call_id, gone in self._cancelling.items() if gone.done()}
        for call_id in done:
            del self._cancelling[call_id]
        return [call_id for call_id, gone in done.items() if gone.result()]

    def close(self) -> None:
        """See `Spawner.close`; what is under way may land all the same."""
        self._start(self._give_up()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _send(self, calls: Sequence[Sending]) -> None:
        lanes = (self._lane(place).send(own, self._timeout_s) for place, own in by_place(calls))
        await asyncio.gather(*lanes)

    def _lane(self, place: Place) -> Lane:
        if place not in self._lanes:
            self._lanes[place] = Lane(place, self._connect)
        return self._lanes[place]

    async def _connect(self) -> modal.Client:
        """The client. An attempt that is cut off goes on inside it, for 57 s, and ends there in a
        traceback that nobody asked for: so all wait for the same one, also in later ticks."""
        failed = self._connecting and self._connecting.done() and self._connecting.exception()
        if not self._connecting or failed:
            self._connecting = asyncio.ensure_future(modal.Client.from_env.aio())
            self._connecting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._connecting)

    async def _cancel(self, call_id: str) -> bool:
        """Cancel one call; whether it is gone."""
        try:
            async with asyncio.timeout(self._timeout_s), self._cancels:
                await modal.FunctionCall.from_id(call_id).cancel.aio()
        except GONE:
            return True
        except Exception:  # noqa: BLE001 - as in a lane; a later tick tries again
            return False
        return True

    async def _give_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def by_place(calls: Iterable[Sending]) -> Iterable[tuple[Place, list[Sending]]]:
    """The calls of each function."""
    found: dict[Place, list[Sending]] = {}
    for call in calls:
        found.setdefault((call.chunk.app_name, call.chunk.function_name), []).append(call)
    return found.items()
