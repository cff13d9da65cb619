"""The two ways in which what was spawned is executed: in this process, or in real containers."""

import asyncio
import importlib
import inspect
import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from modal._runtime.execution_context import _set_current_context_ids
from modal._serialization import pickle_exception, serialize
from modal_proto import api_pb2

from tests.standins.controlplane.calls import Input
from tests.standins.controlplane.container import Container
from tests.standins.controlplane.deployed import DeployedFunction

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane

log = logging.getLogger("controlplane")

CRASHES = 3  # containers in a row that cannot start, or import their code, until the next deploy


class Containers:
    """Real containers, started as inputs wait, and ended with the plane.

    Args:
        limit: how many at a time; idle ones make room for other functions.
        per_function: how many of one function, if its own max_containers allows.
    """

    def __init__(self, limit: int = 4, per_function: int = 1) -> None:
        self._limit = limit
        self._per_function = per_function
        self._background: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self, plane: "ControlPlane") -> None:
        """See `protocols.Runner`."""
        self._plane = plane
        self._stopping = False
        self._go(self._watch())

    async def stop(self) -> None:
        """See `protocols.Runner`."""
        self._stopping = True
        self._plane.changed.beat()
        while self._background:
            for container in self._alive():
                container.kill()
            await asyncio.wait(self._background, timeout=1.0)

    def workers(self, function: DeployedFunction) -> int:
        """See `protocols.Runner`."""
        return sum(1 for one in self._alive() if one.deployed is function)

    def _go(self, work: Any) -> None:
        running = asyncio.ensure_future(work)
        self._background.add(running)
        running.add_done_callback(self._background.discard)

    def _alive(self) -> list[Container]:
        return self._plane.containers

    async def _watch(self) -> None:
        """Look at everything anew whenever anything changed."""
        while not self._stopping:
            self._look()
            await self._plane.changed.next()

    def _look(self) -> None:
        for container in self._alive():
            outdated = container.version != container.deployed.app.version
            gone = container.deployed.function_id not in self._plane.functions
            if (outdated or gone) and not container.draining:
                self._drain(container)
        for function in list(self._plane.functions.values()):
            if self._wants_one(function):
                self._make_room(function)

    def _wants_one(self, function: DeployedFunction) -> bool:
        """Whether inputs wait that the function's containers will not take at once."""
        own = [one for one in self._alive() if one.deployed is function and not one.draining]
        allowed = function.definition.autoscaler_settings.max_containers or self._per_function
        allowed = min(allowed, self._per_function) + function.queue.wants_another
        room = sum(one.capacity - len(one.holding) for one in own)
        lacking = len(function.queue) > room or (function.queue.wants_another and len(own) < 2)
        return lacking and len(own) < allowed and function.crashes < CRASHES

    def _make_room(self, function: DeployedFunction) -> None:
        """Start a container of the function, or drain an idle one so that one can start."""
        if len(self._alive()) < self._limit:
            container = Container(function, self._plane.home, function.app.version)
            self._plane.containers_by_id[container.container_id] = container
            self._go(self._live(container))
            return
        if any(one.draining for one in self._alive()):
            return  # there will be room
        for idle in self._alive():
            if idle.pid and not idle.holding and not idle.deployed.queue:
                self._drain(idle)
                return

    def _drain(self, container: Container) -> None:
        container.draining = True
        self._plane.changed.beat()

    async def _live(self, container: Container) -> None:
        """A container from its start to its end, after which others get what it had."""
        try:
            secrets = self._plane.secrets_of(container.deployed)
            await container.start(self._plane.url, self._plane.uploads, secrets)
            assert container.process
            if self._stopping:
                container.kill()
            status = await container.process.wait()
            log.info("a container of %s ended with %s", container.function, status)
            if status > 0 and not container.up:
                container.deployed.crashes += 1
                log.error("a container does not start: %s", container.output)
        finally:
            del self._plane.containers_by_id[container.container_id]
            for one in list(container.holding.values()):
                container.settle(one.input_id)
                self._plane.give_back(one, container.container_id)
            self._plane.changed.beat()


class InProcess:
    """Threads of this process, which import the deployed module as it is here.

    Args:
        threads: how many inputs are executed at a time.
        environment: variables for the functions, in place of their secrets: they are set for the
            whole process while the runner runs.
    """

    def __init__(self, threads: int = 8, environment: Mapping[str, str] | None = None) -> None:
        self._threads = threads
        self._environment = dict(environment or {})
        self._before: dict[str, str | None] = {}
        self._slots: list[asyncio.Task[None]] = []

    async def start(self, plane: "ControlPlane") -> None:
        """See `protocols.Runner`."""
        self._plane = plane
        self._before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="in-process")
        self._stopping = False
        self._slots = [
            asyncio.ensure_future(self._work(f"thread-{place}")) for place in range(self._threads)
        ]

    async def stop(self) -> None:
        """See `protocols.Runner`; what is under way is finished first, since threads cannot end."""
        self._stopping = True
        self._plane.changed.beat()
        await asyncio.gather(*self._slots)
        self._pool.shutdown()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def workers(self, _function: DeployedFunction) -> int:
        """See `protocols.Runner`."""
        return self._threads

    async def _work(self, name: str) -> None:
        """One thread's life: take an input, execute it, answer."""
        loop = asyncio.get_running_loop()
        while found := await self._plane.changed.until(lambda: self._stopping or self._take(name)):
            if found is True:
                return
            function, one = found
            output = await loop.run_in_executor(self._pool, execute, function, one)
            one.finish(output)
            if one.call.cancelled:
                one.terminate()
            self._plane.changed.beat()

    def _take(self, name: str) -> tuple[DeployedFunction, Input] | None:
        for function in list(self._plane.functions.values()):
            if one := self._plane.give(function, name if self._threads > 1 else ""):
                return function, one
        return None


def execute(function: DeployedFunction, one: Input) -> api_pb2.FunctionPutOutputsItem:
    """Call the function as its container would, on this thread; an exception is an answer too."""
    started = time.time()
    leave = _set_current_context_ids([one.input_id], [one.call.call_id], [""])
    try:
        result = _succeeded(_value(function, one))
    except Exception as error:  # noqa: BLE001 - the function may raise anything, and Modal says so
        result = _failed(error)
        log.warning("%s raised %r", function.tag, error)
    finally:
        leave()
    return api_pb2.FunctionPutOutputsItem(
        input_id=one.input_id,
        result=result,
        input_started_at=started,
        output_created_at=time.time(),
        data_format=api_pb2.DATA_FORMAT_PICKLE,
    )


def _value(function: DeployedFunction, one: Input) -> Any:
    module = importlib.import_module(function.definition.module_name)
    local = getattr(module, function.definition.implementation_name).local
    args, kwargs = one.call.arguments
    value = local(*args, **kwargs)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def _succeeded(value: Any) -> api_pb2.GenericResult:
    status = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
    return api_pb2.GenericResult(status=status, data=serialize(value))


def _failed(error: Exception) -> api_pb2.GenericResult:
    status = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
    data = pickle_exception(error)
    return api_pb2.GenericResult(status=status, exception=repr(error), data=data)
