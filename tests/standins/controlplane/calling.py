"""The RPCs of a client that calls deployed functions: look up, spawn, ask, cancel."""

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.standins.controlplane.calls import Call, Input
from tests.standins.controlplane.deployed import DeployedFunction
from tests.standins.controlplane.dispatch import answers

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane


class Calling:
    """What a dispatcher asks of Modal."""

    def __init__(self, plane: "ControlPlane") -> None:
        self._plane = plane

    @answers("FunctionGet")
    async def look_up(self, request: api_pb2.FunctionGetRequest) -> api_pb2.FunctionGetResponse:
        """A deployed function by its app's name and its own.

        Raises:
            GRPCError: NOT_FOUND.
        """
        app = self._plane.apps.get(request.app_name)
        if app is None:
            message = f"App '{request.app_name}' not found in environment 'main'"
            raise GRPCError(Status.NOT_FOUND, message)
        function = app.functions.get(request.object_tag)
        if function is None:
            message = f"App '{app.name}' has no function '{request.object_tag}'"
            raise GRPCError(Status.NOT_FOUND, message)
        return api_pb2.FunctionGetResponse(
            function_id=function.function_id,
            handle_metadata=function.metadata(),
            function=function.data(),
        )

    @answers("FunctionGetById")
    async def look_up_by_id(
        self, request: api_pb2.FunctionGetByIdRequest
    ) -> api_pb2.FunctionGetByIdResponse:
        """A deployed function by its id."""
        function = self._plane.function(request.function_id)
        return api_pb2.FunctionGetByIdResponse(
            function=function.data(), handle_metadata=function.metadata()
        )

    @answers("FunctionMap")
    async def call(self, request: api_pb2.FunctionMapRequest) -> api_pb2.FunctionMapResponse:
        """A new call, with its inputs queued.

        Raises:
            GRPCError: NOT_FOUND when the function is no longer deployed.
        """
        function = self._plane.function(request.function_id)
        call = self._new_call(function, request)
        answer = api_pb2.FunctionMapResponse(
            function_call_id=call.call_id, retry_policy=function.definition.retry_policy
        )
        for place, sent in enumerate(request.pipelined_inputs):
            one = Input(call, sent.input)
            call.inputs.append(one)
            self._plane.inputs[one.input_id] = one
            function.queue.put(one)
            answer.pipelined_inputs.add(idx=place, input_id=one.input_id)
        self._plane.changed.beat()
        return answer

    def _new_call(self, function: DeployedFunction, request: api_pb2.FunctionMapRequest) -> Call:
        first = request.pipelined_inputs[0].input if request.pipelined_inputs else None
        payload = b""
        if first is not None:
            blob = first.args_blob_id
            payload = self._plane.blobs.read(blob) if blob else first.args
        call = Call(
            app=function.app.name,
            function=function.tag,
            function_id=function.function_id,
            payload=payload,
            invocation_type=request.function_call_invocation_type,
        )
        self._plane.calls.append(call)
        self._plane.calls_by_id[call.call_id] = call
        return call

    def _call(self, call_id: str) -> Call:
        if found := self._plane.calls_by_id.get(call_id):
            return found
        raise GRPCError(Status.NOT_FOUND, f"No function call {call_id}")

    @answers("FunctionCallFromId")
    async def call_by_id(
        self, request: api_pb2.FunctionCallFromIdRequest
    ) -> api_pb2.FunctionCallFromIdResponse:
        """How many inputs a call has."""
        call = self._call(request.function_call_id)
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.call_id, num_inputs=len(call.inputs)
        )

    @answers("FunctionGetOutputs")
    async def outputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        """What came of a call's inputs, as soon as there is any or the time that was given ends."""
        call = self._call(request.function_call_id)
        wanted = range(len(call.inputs))
        if request.HasField("start_idx"):
            wanted = range(request.start_idx, min(request.end_idx + 1, len(call.inputs)))
        await self._plane.changed.until(
            lambda: any(call.inputs[place].done for place in wanted), request.timeout
        )
        unfinished = [one for one in call.inputs if not one.done]
        answer = api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=len(unfinished))
        for place in wanted:
            if output := call.inputs[place].output:
                answer.outputs.add(
                    idx=place,
                    input_id=call.inputs[place].input_id,
                    result=output.result,
                    data_format=output.data_format,
                    input_started_at=output.input_started_at,
                    output_created_at=output.output_created_at,
                )
        return answer

    @answers("FunctionCallCancel")
    async def cancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        """Drop what is queued of a call; tell the containers that have the rest."""
        call = self._call(request.function_call_id)
        call.cancelled = True
        function = self._plane.functions.get(call.function_id)
        for one in call.inputs:
            dropped = bool(function and function.queue.drop(one))
            holders = [c for c in self._plane.containers if one.input_id in c.holding]
            for container in holders:
                container.cancel(one)
                if request.terminate_containers:
                    container.kill()
            if dropped and not holders:
                one.terminate()
        self._plane.changed.beat()
        return Empty()

    @answers("FunctionGetCurrentStats")
    async def stats(self, request: api_pb2.FunctionGetCurrentStatsRequest) -> api_pb2.FunctionStats:
        """How many inputs wait for a function, and how many workers it has."""
        function = self._plane.function(request.function_id)
        runner = self._plane.runner
        holding = [c.holding for c in self._plane.containers if c.deployed is function]
        return api_pb2.FunctionStats(
            backlog=self._plane.waiting(function.tag),
            num_total_tasks=runner.workers(function) if runner else 0,
            num_running_inputs=sum(map(len, holding)),
        )
