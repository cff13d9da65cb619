"""The way to one function on Modal: looked up once, and sent to in its own time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpclib
import modal
from grpclib.exceptions import StreamTerminatedError

from reconciler.contract.claimed import Chunk
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unknown

Place = tuple[str, str]  # app name, function name
CallFunction = modal.Function[[list[int]], None, None]

# Requests of a lane at a time. All lanes share one HTTP/2 connection, of about 100 streams: one
# that hangs must leave some to the others. More are no faster (about 500 a second).
AT_ONCE = 32
UNSENT = 1000  # calls that may wait in a lane to be sent: two seconds' worth

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
# What Modal's client is known to raise where Modal does not answer well.
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


class Lane:
    """Sends calls to one function; whatever happens, each has its outcome within the time-out.

    All of it runs on the spawner's event loop. The client and the libraries under it raise more
    than `FAULTS` (for large arguments, aiohttp's errors and bare ones), and no chunk's trouble may
    end a tick: so everything that is raised here is an outcome.
    """

    def __init__(self, place: Place, connect: Callable[[], Awaitable[object]]) -> None:
        self._place = place
        self._connect = connect
        self._function: CallFunction | None = None
        self._looking_up = asyncio.Lock()
        self._requests = asyncio.Semaphore(AT_ONCE)
        self._unsent = 0

    async def send(self, calls: Sequence[Sending], timeout_s: float) -> None:
        """Send what there is room for, and refuse the rest."""
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
            f"{waiting} calls of it are waiting on Modal already",
        )
        calls = take(
            calls, UNSENT - self._unsent, f"{self._unsent} calls of it are still being sent"
        )
        self._unsent += len(calls)
        await asyncio.gather(*(self._send(function, call, deadline, silence) for call in calls))

    async def _send(
        self, function: CallFunction, call: Sending, deadline: float, silence: str
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
            call.outcome = Unknown(said(error))
        else:
            call.outcome = Spawned(spawned.object_id)
        if not call.sent:
            self._unsent -= 1

    async def _look_up(self) -> CallFunction:
        """The deployed function; asked for once per process, since that is a round trip."""
        async with self._looking_up:
            if not self._function:
                await self._connect()
                function: CallFunction = modal.Function.from_name(*self._place)
                await function.hydrate.aio()
                self._function = function
            return self._function

    def _refused(self, calls: Sequence[Sending], error: Exception) -> None:
        if isinstance(error, modal.exception.NotFoundError):
            self._function = None  # it may be deployed anew, under another id
        refuse(calls, said(error))


def refuse(calls: Sequence[Sending], reason: str) -> None:
    """The calls were certainly not sent, or not taken."""
    for call in calls:
        call.outcome = Refused(reason)


def take(calls: Sequence[Sending], room: int, reason: str) -> Sequence[Sending]:
    """As many calls as there is room for; the others are refused."""
    room = max(0, room)
    refuse(calls[room:], reason)
    return calls[:room]


def said(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
