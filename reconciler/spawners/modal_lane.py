"""A lane: sends calls to one function on Modal, in the background."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import modal

from reconciler.contract.claimed import Chunk
from reconciler.spawners.modal_faults import error_line
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unknown

FunctionKey = tuple[str, str]  # app name, function name
CallFunction = modal.Function[[list[int]], None, None]

# Requests of a lane at the same time. All lanes share one HTTP/2 connection with about 100 streams:
# a lane that hangs must leave streams to the others. More requests are not faster (about 500 a
# second).
MAX_REQUESTS = 32
MAX_UNSENT = 1000  # calls that may wait in a lane to be sent: about two seconds

# Errors that mean that the call certainly was not started. After any other error it may have been.
REFUSALS = (
    modal.exception.NotFoundError,
    modal.exception.AuthError,
    modal.exception.PermissionDeniedError,
    modal.exception.InvalidError,
    modal.exception.ConflictError,
    modal.exception.ResourceExhaustedError,
    modal.exception.UnimplementedError,
)


@dataclass(eq=False)
class OutgoingCall:
    """The call of one chunk. Its outcome is unknown if it was `sent` and Modal did not answer."""

    chunk: Chunk
    sent: bool = False
    outcome: Outcome | None = None


class Lane:
    """Sends calls to one function; each call has an outcome within the time-out.

    It runs on the spawner's event loop. Modal's client and its libraries raise more errors than
    `FAULTS` (for large arguments: aiohttp's errors and bare exceptions). One chunk's error must not
    end the tick, so every exception becomes an outcome.
    """

    def __init__(self, key: FunctionKey, connect: Callable[[], Awaitable[object]]) -> None:
        self._key = key
        self._connect = connect
        self._function: CallFunction | None = None
        self._looking_up = asyncio.Lock()
        self._requests = asyncio.Semaphore(MAX_REQUESTS)
        self._unsent = 0

    async def send(self, calls: Sequence[OutgoingCall], timeout_s: float) -> None:
        """Send as many calls as may wait on Modal and in this lane; refuse the others."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        silence = f"Modal did not answer within {timeout_s:g} s"
        try:
            async with asyncio.timeout_at(deadline):
                function = await self._look_up()
                waiting = (await function.get_current_stats.aio()).backlog
        except TimeoutError:
            refuse(calls, f"not sent: {silence}")
            return
        except Exception as error:  # noqa: BLE001 - see above
            self._refused(calls, error)
            return
        calls = take(
            calls,
            calls[0].chunk.max_waiting - waiting,
            f"{waiting} of its calls already wait on Modal",
        )
        calls = take(
            calls, MAX_UNSENT - self._unsent, f"{self._unsent} of its calls are still being sent"
        )
        self._unsent += len(calls)
        await asyncio.gather(*(self._send(function, call, deadline, silence) for call in calls))

    async def _send(
        self, function: CallFunction, call: OutgoingCall, deadline: float, silence: str
    ) -> None:
        try:
            async with asyncio.timeout_at(deadline), self._requests:
                call.sent = True
                self._unsent -= 1
                spawned = await function.spawn.aio(call.chunk.company_ids)
        except TimeoutError:
            call.outcome = Unknown(silence) if call.sent else Refused(f"not sent: {silence}")
        except REFUSALS as error:
            self._refused([call], error)
        except Exception as error:  # noqa: BLE001 - see above
            call.outcome = Unknown(error_line(error))
        else:
            call.outcome = Spawned(spawned.object_id)
        if not call.sent:
            self._unsent -= 1

    async def _look_up(self) -> CallFunction:
        """The deployed function. It is looked up once, because that takes a round trip."""
        async with self._looking_up:
            if not self._function:
                await self._connect()
                function: CallFunction = modal.Function.from_name(*self._key)
                await function.hydrate.aio()
                self._function = function
            return self._function

    def _refused(self, calls: Sequence[OutgoingCall], error: Exception) -> None:
        if isinstance(error, modal.exception.NotFoundError):
            self._function = None  # it may be deployed again, with another id
        refuse(calls, error_line(error))


def refuse(calls: Sequence[OutgoingCall], reason: str) -> None:
    """Note that the calls certainly were not sent, or not taken."""
    for call in calls:
        call.outcome = Refused(reason)


def take(calls: Sequence[OutgoingCall], room: int, reason: str) -> Sequence[OutgoingCall]:
    """The first `room` calls; the others are refused."""
    room = max(0, room)
    refuse(calls[room:], reason)
    return calls[:room]
