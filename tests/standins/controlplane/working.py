"""The RPCs of a container: take inputs, answer them, and hear what was cancelled."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.standins.controlplane.calls import Input
from tests.standins.controlplane.container import Container
from tests.standins.controlplane.dispatch import answers, caller

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane

log = logging.getLogger("controlplane")

POLL_S = 20.0  # how long a container's question for inputs stays open
BEAT_S = 14.0  # just under the 15 s that the client waits for an answer to its heartbeat


class Working:
    """What Modal's workers ask of it."""

    def __init__(self, plane: "ControlPlane") -> None:
        self._plane = plane

    def _container(self) -> Container:
        if found := self._plane.containers_by_id.get(caller.get()):
            return found
        raise GRPCError(Status.PERMISSION_DENIED, "Only a container may ask this")

    @answers("ContainerHello")
    async def hello(self, _request: Empty) -> Empty:
        """A container is up, though it has not imported its code yet."""
        self._container().up = True
        return Empty()

    @answers("ContainerHeartbeat")
    async def heartbeat(
        self, _request: api_pb2.ContainerHeartbeatRequest
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Stays open until an input is cancelled, or a beat is over."""
        answer = api_pb2.ContainerHeartbeatResponse()
        if cancelled := await self._container().cancels(BEAT_S):
            answer.cancel_input_event.input_ids.extend(cancelled)
        return answer

    @answers("FunctionGetInputs")
    async def take(
        self, request: api_pb2.FunctionGetInputsRequest
    ) -> api_pb2.FunctionGetInputsResponse:
        """One input, or a batch of them, or word that there will be no more."""
        container = self._container()
        found = await self._first(container)
        if container.draining:
            over = api_pb2.FunctionGetInputsItem(kill_switch=True)
            return api_pb2.FunctionGetInputsResponse(inputs=[over])
        taken = [found] if found else []
        patience = time.monotonic() + request.batch_linger_ms / 1000
        while taken and len(taken) < request.batch_max_size:
            left = patience - time.monotonic()
            more = await self._plane.changed.until(lambda: self._give(container), left)
            if not more:
                break
            taken.append(more)
        return api_pb2.FunctionGetInputsResponse(inputs=[_sent(one) for one in taken])

    async def _first(self, container: Container) -> Input | None:
        """The next input for a container, or None after a while or when it drains."""
        found = await self._plane.changed.until(
            lambda: container.draining or self._give(container), POLL_S
        )
        return found if isinstance(found, Input) else None

    def _give(self, container: Container) -> Input | None:
        one = self._plane.give(container.deployed, container.container_id)
        if one is None:
            return None
        container.holding[one.input_id] = one
        if seconds := container.deployed.definition.timeout_secs:
            container.timers[one.input_id] = asyncio.get_running_loop().call_later(
                seconds, self._expire, container, one
            )
        return one

    def _expire(self, container: Container, one: Input) -> None:
        """An input took longer than its function may: that ends the container."""
        log.warning("an input of %s timed out", container.function)
        status = api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT
        seconds = container.deployed.definition.timeout_secs
        message = f"Task's current input hit its timeout of {seconds}s"
        result = api_pb2.GenericResult(status=status, exception=message)
        one.finish(api_pb2.FunctionPutOutputsItem(input_id=one.input_id, result=result))
        container.kill()
        self._plane.changed.beat()

    @answers("FunctionPutOutputs")
    async def answer(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        """What came of inputs; of two answers to one input the first counts."""
        container = self._container()
        container.deployed.crashes = 0
        for output in request.outputs:
            container.settle(output.input_id)
            self._plane.inputs[output.input_id].finish(output)
        self._plane.changed.beat()
        return Empty()

    @answers("TaskResult")
    async def fail(self, request: api_pb2.TaskResultRequest) -> Empty:
        """The container could not import its code."""
        container = self._container()
        container.deployed.crashes += 1
        container.deployed.failure = request.result.traceback
        self._plane.changed.beat()
        log.error("a container of %s failed: %s", container.function, request.result.exception)
        return Empty()

    @answers("FunctionGetDynamicConcurrency")
    async def concurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        """As many inputs at a time as the function may have."""
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    @answers("ContainerStop")
    async def stop(self, request: api_pb2.ContainerStopRequest) -> api_pb2.ContainerStopResponse:
        """End a container, after what it has if `graceful`."""
        found = self._plane.containers_by_id.get(request.task_id)
        if found and request.graceful:
            found.draining = True
            self._plane.changed.beat()
        elif found:
            found.kill()
        return api_pb2.ContainerStopResponse()


def _sent(one: Input) -> api_pb2.FunctionGetInputsItem:
    return api_pb2.FunctionGetInputsItem(
        input_id=one.input_id,
        input=one.proto,
        function_call_id=one.call.call_id,
        function_call_invocation_type=one.call.invocation_type,  # type: ignore[arg-type]
    )
