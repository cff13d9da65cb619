"""What was spawned: calls, their inputs, and the queue in which a function's inputs wait."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from modal._serialization import deserialize
from modal_proto import api_pb2

NUMBERS = count(1)
TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED


def fresh_id(prefix: str) -> str:
    """An identifier of the form that Modal's client checks: a prefix and 22 characters."""
    return f"{prefix}-{next(NUMBERS):022d}"


class Pulse:
    """Wakes whoever waits for something to change; the waiter looks for itself what did."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        """Wake all that wait now. Only from the loop's thread."""
        self._event.set()
        self._event = asyncio.Event()

    async def next(self) -> None:
        """Wait for the next beat."""
        await self._event.wait()

    async def until(self, found: Callable[[], Any], timeout_s: float | None = None) -> Any:
        """The first true answer of `found`, asked now and after each beat, or its last one."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (answer := found()):
                    await self._event.wait()
        except TimeoutError:
            return found()
        return answer


@dataclass(eq=False)
class Input:
    """One set of arguments on its way through a worker; `result` is None until one answered."""

    call: "Call"
    proto: api_pb2.FunctionInput
    input_id: str = field(default_factory=lambda: fresh_id("in"))
    deliveries: int = 0
    output: api_pb2.FunctionPutOutputsItem | None = None

    @property
    def done(self) -> bool:
        """Whether a worker answered, or the input was cancelled before one had it."""
        return self.output is not None

    def finish(self, output: api_pb2.FunctionPutOutputsItem) -> bool:
        """Keep the first answer; whether this was it."""
        if self.done:
            return False
        self.output = output
        return True

    def terminate(self) -> None:
        """Answer as Modal does for what was cancelled."""
        result = api_pb2.GenericResult(status=TERMINATED, exception="cancelled")
        self.finish(api_pb2.FunctionPutOutputsItem(input_id=self.input_id, result=result))


@dataclass(eq=False)
class Call:
    """One FunctionMap: what `.spawn` makes of its arguments.

    `function` is the tag, `app` the deployment's name, `payload` the pickled arguments.
    """

    app: str
    function: str
    function_id: str
    payload: bytes
    invocation_type: int
    call_id: str = field(default_factory=lambda: fresh_id("fc"))
    inputs: list[Input] = field(default_factory=list)
    cancelled: bool = False

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and the keyword arguments."""
        args, kwargs = deserialize(self.payload, None)
        return args, kwargs

    @property
    def company_ids(self) -> list[int]:
        """The one argument of a step's function."""
        args, kwargs = self.arguments
        found: list[int] = args[0] if args else kwargs["company_ids"]
        return found

    @property
    def payload_bytes(self) -> int:
        """The size of the pickled arguments."""
        return len(self.payload)

    @property
    def deliveries(self) -> int:
        """How often a worker was given this call's inputs."""
        return sum(one.deliveries for one in self.inputs)

    @property
    def done(self) -> bool:
        """Whether every input has its answer."""
        return all(one.done for one in self.inputs)

    @property
    def succeeded(self) -> bool:
        """Whether every input was answered with a value."""
        success = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
        return all(one.output and one.output.result.status == success for one in self.inputs)


@dataclass(eq=False)
class Waiting:
    """An input in the queue; `unless` is the worker that must not get it, since it has it."""

    one: Input
    unless: str = ""


class Queue:
    """The inputs of one function that no worker has yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wants_another(self) -> bool:
        """Whether an input waits for a second worker to have it too."""
        return any(entry.unless for entry in self._waiting)

    def put(self, one: Input, unless: str = "") -> None:
        """Queue an input at the end, for anyone but the worker `unless`."""
        self._waiting.append(Waiting(one, unless))

    def put_back(self, one: Input) -> None:
        """Queue first what a worker that died had."""
        self._waiting.appendleft(Waiting(one))

    def drop(self, one: Input) -> bool:
        """Take an input out; whether it was there."""
        found = [entry for entry in self._waiting if entry.one is one]
        for entry in found:
            self._waiting.remove(entry)
        return bool(found)

    def take(self, worker: str) -> Input | None:
        """The oldest input that `worker` may have, counted as delivered; None if there is none."""
        for place, entry in enumerate(self._waiting):
            if not entry.unless or entry.unless != worker:
                del self._waiting[place]
                entry.one.deliveries += 1
                return entry.one
        return None
