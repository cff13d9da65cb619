"""Each fault raises in the real client what Modal's own would, as soon as it would."""

import asyncio
import logging
import time

import modal
import pytest
from grpclib import Status
from grpclib.exceptions import StreamTerminatedError
from modal.exception import ServiceError

from tests.standins.controlplane.client import Deployed, environment
from tests.standins.controlplane.faults import (
    Delay,
    Fail,
    Hang,
    LoseResponse,
    dead_url,
    silent_server,
    throttled,
)
from tests.standins.controlplane.plane import ControlPlane


def test_transient_failures_are_tried_four_times(plane: ControlPlane, function: Deployed) -> None:
    plane.inject("FunctionMap", Fail(Status.UNAVAILABLE), function="normalize")
    with pytest.raises(ServiceError):
        function.spawn([1])
    assert plane.counts["FunctionMap"] == 4
    modal.Function.from_name("tracer", "step_a").spawn([1])
    assert [call.function for call in plane.calls] == ["step_a"]


def test_a_throttled_spawn_waits_until_it_may(
    plane: ControlPlane,
    function: Deployed,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MODAL_MAX_THROTTLE_WAIT", raising=False)  # a spawner of ours sets it
    plane.inject("FunctionMap", throttled(0.1), times=6)
    with caplog.at_level(logging.CRITICAL, logger="modal-client"):
        function.spawn([1])
    assert plane.counts["FunctionMap"] == 7
    assert len(plane.calls) == 1


def test_exhausted_resources_without_a_policy_fail_at_once(
    plane: ControlPlane, function: Deployed
) -> None:
    plane.inject("FunctionMap", Fail(Status.RESOURCE_EXHAUSTED))
    with pytest.raises(modal.exception.ResourceExhaustedError):
        function.spawn([1])
    assert plane.counts["FunctionMap"] == 1


def test_a_lost_answer_is_asked_for_again_and_nothing_runs_twice(
    plane: ControlPlane, function: Deployed
) -> None:
    plane.inject("FunctionMap", LoseResponse(), times=2)
    handle = function.spawn([1])
    assert [call.call_id for call in plane.calls] == [handle.object_id]
    assert plane.counts["FunctionMap"] == 3


def test_an_answer_lost_for_good_leaves_a_call_that_nobody_knows(
    plane: ControlPlane, function: Deployed
) -> None:
    plane.inject("FunctionMap", LoseResponse())
    with pytest.raises(StreamTerminatedError):
        function.spawn([1])
    assert len(plane.calls) == 1


def test_an_outage_is_over_when_it_is_over(plane: ControlPlane, function: Deployed) -> None:
    before = function.spawn([1])
    with plane.outage(), pytest.raises(modal.exception.ConnectionError):
        function.spawn([2])
    function.spawn([3])
    assert [call.company_ids for call in plane.calls] == [[1], [3]]
    before.cancel()
    assert plane.calls[0].cancelled


@pytest.mark.parametrize("fault", [Hang(), Delay(30)])
def test_what_hangs_is_bounded_by_the_caller_and_the_handle_lives_on(
    plane: ControlPlane, function: Deployed, fault: Hang | Delay
) -> None:
    async def spawn() -> None:
        plane.inject("FunctionMap", fault, times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(function.spawn.aio([1]), 0.3)
        await function.spawn.aio([2])

    asyncio.run(spawn())
    assert [call.company_ids for call in plane.calls] == [[2]]


def test_a_lookup_can_hang_for_one_function_alone(plane: ControlPlane) -> None:
    async def spawn() -> None:
        plane.inject("FunctionGet", Hang(), function="step_a")
        lost = modal.Function.from_name("tracer", "step_a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lost.spawn.aio([1]), 0.3)
        plane.clear_faults()
        await lost.spawn.aio([1])
        await modal.Function.from_name("tracer", "step_b").spawn.aio([1])

    asyncio.run(spawn())
    assert [call.function for call in plane.calls] == ["step_a", "step_b"]


def test_servers_that_are_dead_or_silent_cost_no_more_than_the_callers_patience() -> None:
    async def spawn() -> None:
        function = modal.Function.from_name("tracer", "normalize")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(function.spawn.aio([1]), 0.3)

    token = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}
    with silent_server() as silent:
        for url in (dead_url(), silent):
            with environment(token | {"MODAL_SERVER_URL": url}):
                began = time.monotonic()
                asyncio.run(spawn())
                assert time.monotonic() - began < 5
