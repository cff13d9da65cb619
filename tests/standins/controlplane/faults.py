"""What can go wrong with Modal, on demand: one RPC at a time, or the whole server."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2


@dataclass(frozen=True)
class Fail:
    """The RPC is not executed and fails with this status. `details` ride along."""

    status: Status
    message: str = "injected"
    details: Sequence[Message] = ()


@dataclass(frozen=True)
class Hang:
    """The RPC is not executed and never answered, until the server stops."""


@dataclass(frozen=True)
class Delay:
    """The RPC is executed `seconds` late, unless the client gave up by then."""

    seconds: float


@dataclass(frozen=True)
class LoseResponse:
    """The RPC is executed, and its stream is reset before the answer."""


Fault = Fail | Hang | Delay | LoseResponse


def throttled(retry_after_s: float) -> Fail:
    """The answer that makes the client wait so long and try again, for ever by default."""
    policy = api_pb2.RPCRetryPolicy(retry_after_secs=retry_after_s)
    return Fail(Status.RESOURCE_EXHAUSTED, "rate limit", (policy,))


@dataclass
class Injected:
    """A fault in place: `function` is a tag or None for all, `left` None for ever."""

    rpc: str
    fault: Fault
    function: str | None
    left: int | None


class Faults:
    """The faults in place; the first that matches an RPC strikes."""

    def __init__(self) -> None:
        self._injected: list[Injected] = []

    def add(self, injected: Injected) -> None:
        """Put a fault in place, behind those that are there."""
        self._injected = [*self._injected, injected]

    def clear(self) -> None:
        """Take all faults away; what hangs already stays so."""
        self._injected = []

    def strike(self, rpc: str, function: str | None) -> Fault | None:
        """The fault that this RPC meets, if any, counted as used once."""
        for found in self._injected:
            if found.rpc == rpc and found.left != 0 and found.function in (None, function):
                found.left = None if found.left is None else found.left - 1
                return found.fault
        return None


async def suffer(fault: Fault | None) -> None:
    """What happens before an RPC is executed.

    Raises:
        GRPCError: the fault says so.
    """
    match fault:
        case Fail(status, message, details):
            raise GRPCError(status, message, list(details))
        case Hang():
            await asyncio.Event().wait()
        case Delay(seconds):
            await asyncio.sleep(seconds)


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a port that accepts connections and never says anything."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def dead_url() -> str:
    """The URL of a port on which nobody listens: it was free a moment ago."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"
