"""Sends calls to Modal; it knows only the names of the deployed app and its functions."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

import modal

from reconciler.contract.claimed import NO_LIMIT, Chunk, Room
from reconciler.spawners.modal_lane import MAX_REQUESTS, FunctionKey, Lane, OutgoingCall
from reconciler.spawners.protocol import Answer, Outcome, Unanswered

T = TypeVar("T")

# A tick waits at most this long for answers; a later tick records later answers.
ANSWER_WITHIN_S = 1.0
# Errors that mean that there is nothing (left) to cancel: a second try would fail too.
NOTHING_TO_CANCEL = (
    modal.exception.NotFoundError,
    modal.exception.InvalidError,
    modal.exception.ConflictError,
    modal.exception.UnimplementedError,
)


class ModalSpawner:
    """One `Function.spawn` per chunk. Each function has a lane, which keeps sending between ticks.

    Each call has an outcome within `timeout_s` seconds; a call without an answer is given up then.
    Modal's client has no such bound: it needs 57 s for an unreachable server, 160 s for a silent
    one.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        # Otherwise the client retries a throttled request without end. The tick does the waiting,
        # and reports it.
        os.environ.setdefault("MODAL_MAX_THROTTLE_WAIT", "0")
        self._timeout_s = timeout_s
        self._lanes: dict[FunctionKey, Lane] = {}
        self._unanswered: list[OutgoingCall] = []
        self._sending: set[Future[None]] = set()
        self._cancelling: dict[str, Future[bool]] = {}
        self._connecting: asyncio.Task[modal.Client] | None = None
        self._cancels = asyncio.Semaphore(MAX_REQUESTS)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="modal-spawner", daemon=True)
        self._thread.start()

    def room(self) -> Room:
        """See `Spawner.room`: Modal queues what its containers cannot take yet."""
        return NO_LIMIT

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        """See `Spawner.spawn`."""
        calls = [OutgoingCall(chunk) for chunk in chunks]
        started = self._start(self._send(calls))
        self._sending.add(started)
        wait([started], ANSWER_WITHIN_S)
        answers = [call.outcome or Unanswered() for call in calls]
        answered = zip(calls, answers, strict=True)
        self._unanswered += [call for call, answer in answered if isinstance(answer, Unanswered)]
        return answers

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:
        """See `Spawner.late_answers`."""
        if wait_for_all:
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
        """See `Spawner.cancel`; if a cancellation takes long, a later tick finds it done."""
        new = [call_id for call_id in call_ids if call_id not in self._cancelling]
        started = {call_id: self._start(self._cancel(call_id)) for call_id in new}
        self._cancelling |= started
        wait(started.values(), ANSWER_WITHIN_S)
        done = {call_id: gone for call_id, gone in self._cancelling.items() if gone.done()}
        for call_id in done:
            del self._cancelling[call_id]
        return [call_id for call_id, gone in done.items() if gone.result()]

    def close(self) -> None:
        """See `Spawner.close`; Modal may still get the requests that were given up."""
        self._start(self._give_up()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _send(self, calls: Sequence[OutgoingCall]) -> None:
        lanes = (self._lane(key).send(own, self._timeout_s) for key, own in by_function(calls))
        await asyncio.gather(*lanes)

    def _lane(self, key: FunctionKey) -> Lane:
        if key not in self._lanes:
            self._lanes[key] = Lane(key, self._connect)
        return self._lanes[key]

    async def _connect(self) -> modal.Client:
        """Modal's client. A cancelled connect goes on inside the client for 57 s (see `is_news`).
        So all callers share one connect, also in later ticks."""
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
        except NOTHING_TO_CANCEL:
            return True
        except Exception:  # noqa: BLE001 - see `Lane`; a later tick tries again
            return False
        return True

    async def _give_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def by_function(
    calls: Iterable[OutgoingCall],
) -> Iterable[tuple[FunctionKey, list[OutgoingCall]]]:
    """The calls of each function."""
    found: dict[FunctionKey, list[OutgoingCall]] = {}
    for call in calls:
        found.setdefault((call.chunk.app_name, call.chunk.function_name), []).append(call)
    return found.items()
