"""From the wire to an RPC's meaning: tokens, counts, faults, and answers that are given twice."""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import grpclib.const
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

from tests.standins.controlplane.faults import LoseResponse, suffer

log = logging.getLogger("controlplane")

Answering = Callable[[Any], Awaitable[Message]]
Method = TypeVar("Method", bound=Callable[..., Awaitable[Message]])

CONTAINER_HEADER = "x-container-id"  # a container has no token: this is how it says who it is
KEPT_ANSWERS = 20_000

# The container that asks, or "" for a client.
caller: ContextVar[str] = ContextVar("caller", default="")


class Plane(Protocol):
    """What the dispatch needs to know of the control plane."""

    missing: set[str]

    def admit(self, metadata: dict[str, str]) -> str:
        """The container that asks, or "" for a client with a good token."""

    def strike(self, rpc: str, request: Message) -> Any:
        """The fault that this RPC meets, if any."""

    def count(self, rpc: str) -> None:
        """One more of these was served."""


def answers(rpc: str) -> Callable[[Method], Method]:
    """Mark a method as the meaning of an RPC."""

    def mark(method: Method) -> Method:
        method.rpc = rpc  # type: ignore[attr-defined]
        return method

    return mark


def spoken(*rooms: object) -> dict[str, Answering]:
    """Every RPC that the methods of these objects answer, by name."""
    return {
        method.rpc: method
        for room in rooms
        for name in dir(room)
        if hasattr(method := getattr(room, name), "rpc")
    }


class Dispatch:
    """The servable that grpclib takes: every RPC of Modal's protocol, spoken or not."""

    def __init__(self, plane: Plane, rpcs: dict[str, Answering]) -> None:
        self._plane = plane
        self._rpcs = rpcs
        self._given: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        """See `grpclib.server.Server`."""
        return dict(self._handlers())

    def _handlers(self) -> Iterator[tuple[str, grpclib.const.Handler]]:
        shape: Any = type("Shape", (ModalClientBase,), {})
        shape.__abstractmethods__ = frozenset()  # only its table of types is wanted
        for path, found in shape().__mapping__().items():
            rpc = path.rsplit("/", 1)[1]
            yield path, found._replace(func=self._served(rpc))

    def _served(self, rpc: str) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        answering = self._rpcs.get(rpc)

        async def serve(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            metadata = {key: str(value) for key, value in (stream.metadata or {}).items()}
            self._plane.count(rpc)
            caller.set(self._plane.admit(metadata))
            if answering is None:
                raise self._unspoken(rpc)
            fault = self._plane.strike(rpc, request)
            await suffer(fault)
            answer = await self._answer(rpc, answering, request, metadata)
            if isinstance(fault, LoseResponse):
                await stream.cancel()
            else:
                await stream.send_message(answer)

        return serve

    def _unspoken(self, rpc: str) -> GRPCError:
        self._plane.missing.add(rpc)
        message = f"The control plane stand-in does not speak {rpc}."
        log.error("%s Add it in tests/standins/controlplane.", message)
        return GRPCError(Status.UNIMPLEMENTED, message)

    async def _answer(
        self, rpc: str, answering: Answering, request: Message, metadata: dict[str, str]
    ) -> Message:
        """The answer, which is the first one for whoever asks again with the same key."""
        key = (rpc, metadata.get("x-idempotency-key", ""))
        if key in self._given:
            return self._given[key]
        answer = await answering(request)
        if key[1]:
            self._given[key] = answer
            if len(self._given) > KEPT_ANSWERS:
                self._given.popitem(last=False)
        return answer
