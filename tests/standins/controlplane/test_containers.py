"""What is spawned runs in real containers, with real cancellation, concurrency and deaths."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from tests.standins.controlplane.client import Deployed, use
from tests.standins.controlplane.execution import CRASHES, Containers, InProcess
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.server import serve
from tests.standins.controlplane.terminal import deploy, project
from tests.world import World

BAD = """
import modal

app = modal.App("bad")
if not modal.is_local():
    raise ImportError("not in the container")


@app.function()
def never():
    pass
"""


@pytest.fixture(scope="module")
def sampled() -> Iterator[ControlPlane]:
    """A plane with the sample app, and up to three containers at a time."""
    with serve(Containers(limit=3)) as plane:
        deploy(plane, "tests/standins/controlplane/sample.py")
        yield plane


@pytest.fixture(autouse=True)
def plane(sampled: ControlPlane) -> Iterator[ControlPlane]:
    sampled.calls.clear()
    with use(sampled):
        yield sampled


def sample(name: str) -> Deployed:
    return modal.Function.from_name("sample", name)


@pytest.mark.proof  # test_modal_run.py has one that runs beside another step
def test_a_step_runs_end_to_end_with_its_secret_on_the_uploaded_code(
    world: World, url: str
) -> None:
    with project(url, Containers()) as plane, use(plane):
        world.seed(3)
        world.tick()
        modal.Function.from_name("tracer", "normalize").spawn(world.ids()).get(timeout=30)
        assert world.statuses() == {"COMPLETED": 3}
        assert not plane.missing


def test_what_was_not_uploaded_is_missing() -> None:
    seen = {name: sample("importable").remote(name) for name in ("sample", "modal", "reconciler")}
    assert seen == {"sample": True, "modal": True, "reconciler": False}


@pytest.mark.proof
def test_a_container_takes_as_many_inputs_at_a_time_as_its_function_says() -> None:
    times = [call.get(timeout=30) for call in [sample("nap_async").spawn(0.7) for _ in range(4)]]
    assert max(began for began, _ in times) < min(ended for _, ended in times)
    pids = [call.get(timeout=30) for call in [sample("nap").spawn(0.1) for _ in range(3)]]
    assert len(set(pids)) == 1


@pytest.mark.proof
def test_a_batched_function_gets_its_inputs_together() -> None:
    calls = [sample("squares").spawn(number) for number in range(3)]
    answers = [call.get(timeout=30) for call in calls]
    assert [square for square, _ in answers] == [0, 1, 4]
    assert max(together for _, together in answers) > 1


def test_an_exception_is_the_answer(plane: ControlPlane) -> None:
    with pytest.raises(ValueError, match="no luck"):
        sample("broken").remote("no luck")
    assert plane.calls[-1].done
    assert not plane.calls[-1].succeeded


@pytest.mark.proof
def test_what_a_killed_container_had_goes_to_another(plane: ControlPlane) -> None:
    handle = sample("nap").spawn(1.5)
    (call,) = plane.calls
    plane.until(lambda: call.deliveries)
    (container,) = [one for one in plane.containers if call.inputs[0].input_id in one.holding]
    container.kill()
    assert handle.get(timeout=30) != container.pid
    assert call.deliveries == 2


@pytest.mark.proof
def test_an_input_can_be_delivered_twice(plane: ControlPlane) -> None:
    plane.deliver_twice()
    sample("nap").spawn(0.1).get(timeout=30)
    assert plane.until(lambda: plane.calls[0].deliveries == 2)


@pytest.mark.proof
def test_a_cancelled_input_of_an_async_function_leaves_its_neighbour_alone(
    plane: ControlPlane,
) -> None:
    lost, kept = (sample("nap_async").spawn(seconds) for seconds in (30, 2))
    plane.until(lambda: all(call.deliveries for call in plane.calls))
    lost.cancel()
    assert plane.until(lambda: plane.calls[0].done, 10)
    assert not plane.calls[0].succeeded
    kept.get(timeout=30)
    assert plane.calls[1].deliveries == 1


@pytest.mark.proof
def test_a_cancelled_input_of_a_threaded_function_ends_the_container(plane: ControlPlane) -> None:
    sample("nap_threaded").spawn(0).get(timeout=30)  # one container is there, and takes both
    lost, kept = (sample("nap_threaded").spawn(seconds) for seconds in (30, 10))
    plane.until(lambda: all(call.deliveries for call in plane.calls))
    lost.cancel()
    kept.get(timeout=30)
    assert [call.deliveries for call in plane.calls] == [1, 1, 2]
    assert not plane.calls[1].succeeded


@pytest.mark.proof
def test_an_input_that_takes_longer_than_it_may_ends_its_container() -> None:
    with pytest.raises(modal.exception.FunctionTimeoutError):
        sample("endless").spawn().get(timeout=30)


@pytest.mark.proof
def test_a_deploy_replaces_the_containers(plane: ControlPlane) -> None:
    before = sample("nap").remote(0)
    deploy(plane, "tests/standins/controlplane/sample.py")
    assert sample("nap").remote(0) != before


@pytest.mark.proof
def test_code_that_cannot_be_imported_is_tried_a_few_times(
    plane: ControlPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    deploy(plane, str(tmp_path / "bad.py"))
    with caplog.at_level(logging.CRITICAL, logger="controlplane"):
        modal.Function.from_name("bad", "never").spawn()
        function = plane.apps["bad"].functions["never"]
        assert plane.until(lambda: function.crashes == CRASHES and not plane.calls[0].done)
    assert "not in the container" in function.failure
    assert plane.waiting("never") == 1


@pytest.mark.proof
def test_calls_run_in_this_process_too() -> None:
    runner = InProcess(threads=4, environment={"DATABASE_URL": "postgresql://x"})
    with serve(runner) as plane, use(plane):
        deploy(plane, "-m", "tests.standins.controlplane.sample")
        began = time.monotonic()
        calls = [modal.Function.from_name("sample", "nap").spawn(0.3) for _ in range(4)]
        assert {call.get(timeout=10) for call in calls} == {os.getpid()}
        assert time.monotonic() - began < 4 * 0.3
        with pytest.raises(ValueError, match="no luck"):
            modal.Function.from_name("sample", "broken").remote("no luck")
        assert os.environ["DATABASE_URL"] == "postgresql://x"
    assert "DATABASE_URL" not in os.environ


def test_nothing_is_left_running() -> None:
    with serve(Containers()) as plane, use(plane):
        deploy(plane, "tests/standins/controlplane/sample.py")
        sample("nap").spawn(30)
        plane.until(lambda: plane.calls[0].deliveries)
        (container,) = plane.containers
        home = plane.home
    with pytest.raises(ProcessLookupError):
        os.kill(container.pid, 0)
    assert not home.exists()
