"""Everything that can go wrong between a tick and Modal, with the real client: nothing is lost."""

import time
from contextlib import closing
from datetime import timedelta

import pytest
from grpclib import Status as Code

from reconciler.dispatch import wait_for_answers
from reconciler.spawners.modal import ANSWER_WITHIN_S, ModalSpawner
from reconciler.tick import tick
from tests.reconciler.spawners.dispatcher import BOUND_S, Dispatcher
from tests.standins.controlplane.client import environment
from tests.standins.controlplane.execution import InProcess
from tests.standins.controlplane.faults import (
    Delay,
    Fail,
    Fault,
    Hang,
    LoseResponse,
    dead_url,
    silent_server,
    throttled,
)
from tests.tiers import all_but
from tests.world import World
from workers import app

SLACK_S = 1.5  # a busy machine's
ALL = set(Code) - {Code.OK}
RPCS = ["FunctionGet", "FunctionGetCurrentStats", "FunctionMap"]

REFUSED: dict[str, tuple[str, Fault, str]] = {
    "no such function": (
        "FunctionGet",
        Fail(Code.NOT_FOUND, "gone"),
        "NotFoundError: Lookup failed",
    ),
    "token not accepted": ("FunctionMap", Fail(Code.UNAUTHENTICATED, "bad"), "AuthError: bad"),
    "not allowed": (
        "FunctionMap",
        Fail(Code.PERMISSION_DENIED, "no"),
        "PermissionDeniedError: no",
    ),
    "wrong arguments": ("FunctionMap", Fail(Code.INVALID_ARGUMENT, "x"), "InvalidError: x"),
    "full": ("FunctionMap", Fail(Code.RESOURCE_EXHAUSTED, "full"), "ResourceExhaustedError: full"),
    "rate limit": ("FunctionMap", throttled(5), "ResourceExhaustedError: rate limit"),
    "silent before the call": ("FunctionGetCurrentStats", Hang(), "not sent: "),
    "down before the call": (
        "FunctionGetCurrentStats",
        Fail(Code.UNAVAILABLE, "down"),
        "ServiceError: down",
    ),
}


@pytest.mark.parametrize("case", all_but(REFUSED.keys() - {"silent before the call"}, REFUSED))
def test_what_was_certainly_not_spawned_goes_back(modal: Dispatcher, case: str) -> None:
    rpc, fault, reason = REFUSED[case]
    world = modal.world
    world.seed(3)
    modal.plane.inject(rpc, fault)
    # Long enough to connect on a busy machine, and before the client itself gives up, at 10 s.
    with modal.within(5) as patient:
        report = patient.tick()
    assert (report.claimed, report.released, report.spawned, report.unknown) == (3, 3, 0, 0)
    for row in world.rows():
        assert (row["status"], row["attempt"]) == ("PENDING", 0)
        assert row["error"].startswith(f"spawn refused: {reason}")
        assert row["available_at"] > world.store.now()
    assert modal.plane.calls == []


TOO_LATE = "answered too late"
UNKNOWN: dict[str, tuple[Fault, str]] = {
    "no answer": (Hang(), "Modal did not answer within 1 s"),
    TOO_LATE: (Delay(3 * BOUND_S), "Modal did not answer within 1 s"),
    "down": (Fail(Code.UNAVAILABLE, "down"), "ServiceError: down"),
    "broken": (Fail(Code.INTERNAL, "oops"), "InternalError: oops"),
}


@pytest.mark.parametrize("case", all_but(UNKNOWN.keys() - {TOO_LATE}, UNKNOWN))
def test_what_may_have_been_spawned_stays_queued(modal: Dispatcher, case: str) -> None:
    fault, reason = UNKNOWN[case]
    modal.world.seed(3)
    modal.plane.inject("FunctionMap", fault)
    report, took_s = modal.timed()
    assert (report.claimed, report.unknown, report.released) == (3, 3, 0)
    assert took_s < BOUND_S + SLACK_S
    assert {(r["status"], r["attempt"], r["error"]) for r in modal.world.rows()} == {
        ("QUEUED", 1, f"spawn outcome unknown: {reason}")
    }


@pytest.mark.parametrize("times", [1, 3, 100])
@pytest.mark.usefixtures("container")
def test_a_call_whose_answer_is_lost_is_worked_once(modal: Dispatcher, times: int) -> None:
    """The client asks again under the same key; without any answer the worker says its call."""
    world = modal.world
    world.seed(5)
    modal.plane.inject("FunctionMap", LoseResponse(), times=times)
    report = modal.tick()
    assert report.released == 0
    assert report.unknown == (5 if times == 100 else 0)
    assert len(modal.plane.calls) == 1
    modal.work()
    assert world.statuses() == {"COMPLETED": 5}
    assert {row["attempt"] for row in world.rows()} == {1}
    assert {row["call_id"] for row in world.rows()} == {modal.plane.calls[0].call_id}
    assert len(world.sql("SELECT * FROM results.normalized")) == 5


@pytest.mark.usefixtures("container")
def test_an_input_that_is_delivered_twice_is_worked_once(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(5)
    modal.tick()
    modal.plane.deliver_twice()
    modal.work()
    assert modal.plane.calls[0].deliveries == 2
    assert world.statuses() == {"COMPLETED": 5}
    assert {row["attempt"] for row in world.rows()} == {1}
    assert len(world.sql("SELECT * FROM results.normalized")) == 5


@pytest.mark.parametrize(
    ("rpc", "for_s", "bound_s"),
    [
        ("FunctionMap", 2.5, 1.5),
        *(pytest.param(rpc, 12, 3, marks=pytest.mark.proof) for rpc in RPCS),
    ],
)
def test_one_steps_broken_function_does_not_delay_another_step(
    modal: Dispatcher, rpc: str, for_s: float, bound_s: float
) -> None:
    """A thousand calls hang, tick after tick; each row of the other step is sent at once."""
    world = modal.world
    world.operator.set_step("step_a", {"chunk_size": 1, "backoff_s": 2, "backoff_max_s": 2})
    world.seed([f"broken-{i}" for i in range(1500)], ["step_a"], name="broken")
    modal.plane.inject(rpc, Hang(), function="step_a")
    slowest = 0.0
    with modal.within(bound_s) as patient:
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            name = f"well-{deadline - time.monotonic():.3f}"
            world.seed([name], ["normalize"], name=name)
            started = time.monotonic()
            tick(world.store, patient.spawner, world.store.now())
            slowest = max(slowest, time.monotonic() - started)
            assert modal.spawned("normalize")[-1] == world.ids()[-1:]
            time.sleep(0.2)
    assert slowest < ANSWER_WITHIN_S + SLACK_S
    assert modal.spawned("step_a") == []


def test_a_function_that_answers_slowly_is_waited_for_beside_a_fast_one(
    modal: Dispatcher,
    container: None,  # noqa: ARG001 - it is this process
) -> None:
    world = modal.world
    world.seed(20, ["step_a"], name="slow")
    world.seed(3, ["normalize"], name="fast")
    modal.plane.inject("FunctionMap", Delay(2), function="step_a")
    with modal.within(10) as patient:
        started = time.monotonic()
        report = tick(world.store, patient.spawner, world.store.now())
        assert time.monotonic() - started < ANSWER_WITHIN_S + SLACK_S
        assert (report.claimed, report.spawned, report.unknown) == (23, 3, 0)
        assert patient.plane.until(lambda: len(modal.spawned("step_a")) == 4)
        late = wait_for_answers(world.store, patient.spawner, world.store.now())
    assert (late.spawned, late.unknown) == (20, 0)
    assert world.rows("call_id IS NULL") == []


def test_an_app_that_is_deployed_anew_is_found_again(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(1, name="before")
    assert modal.tick().spawned == 1
    world.operator.set_step("normalize", {"backoff_s": 0})
    modal.plane.inject("FunctionMap", Fail(Code.NOT_FOUND, "stopped"), times=1)
    world.seed(["other"], name="while it was away")
    assert modal.tick().released == 1
    looked_up = modal.plane.counts["FunctionGet"]
    assert modal.tick().spawned == 1
    assert modal.plane.counts["FunctionGet"] == looked_up + 1


@pytest.mark.parametrize("away", ["unreachable", "silent"])
def test_a_server_that_is_not_there_costs_no_more_than_the_bound(world: World, away: str) -> None:
    world.seed(3)
    with silent_server() as silent:
        url = dead_url() if away == "unreachable" else silent
        account = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}
        with (
            environment({"MODAL_SERVER_URL": url, **account}),
            closing(ModalSpawner(BOUND_S)) as spawner,
        ):
            started = time.monotonic()
            tick(world.store, spawner, world.store.now())
            assert wait_for_answers(world.store, spawner, world.store.now()).released in (0, 3)
            assert time.monotonic() - started < BOUND_S + SLACK_S
    reason = "spawn refused: not sent: Modal did not answer within 1 s"
    assert {row["error"] for row in world.rows()} == {reason}


def test_a_server_that_goes_away_is_asked_again(modal: Dispatcher) -> None:
    """A warm client, whose server answers neither before nor after the spawn."""
    world = modal.world
    world.operator.set_step("normalize", {"backoff_s": 0})
    world.seed(1)
    modal.tick()
    world.seed(["other"], name="second")
    modal.plane.inject("FunctionGetCurrentStats", Fail(Code.UNAVAILABLE, "away"), times=4)
    assert modal.tick().released == 1
    assert modal.tick().spawned == 1


@pytest.mark.parametrize(
    ("rpc", "statuses"),
    [
        ("FunctionMap", {Code.ABORTED, Code.UNIMPLEMENTED}),
        *(pytest.param(rpc, ALL, marks=pytest.mark.proof) for rpc in RPCS),
    ],
)
def test_no_answer_of_the_server_ends_a_tick(
    modal: Dispatcher, rpc: str, statuses: set[Code]
) -> None:
    """Whatever its status is: refused or unknown, and never both or neither."""
    world = modal.world
    world.operator.set_step("normalize", {"backoff_s": 0, "max_in_flight": 1_000_000})
    for status in statuses:
        world.seed([status.name], name=status.name)
        modal.plane.inject(rpc, Fail(status, f"{status.name} \0"))
        with modal.within(5) as anew:
            report = anew.tick()
        modal.plane.clear_faults()
        assert (report.spawned, report.released + report.unknown) == (0, report.claimed), status
        if rpc != "FunctionMap":
            assert report.released == report.claimed > 0, status


def test_a_call_that_fails_before_it_begins_is_the_leases_to_decide(
    modal: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container cannot connect: its secret has no database."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(app, "CONTAINER", app.Container())
    world = modal.world
    world.seed(3)
    now = world.store.now()
    modal.tick()
    modal.plane.run_with(InProcess())
    assert modal.plane.until(lambda: modal.plane.calls[0].done)
    modal.plane.run_with(None)
    assert not modal.plane.calls[0].succeeded
    assert world.statuses() == {"QUEUED": 3}
    assert modal.tick(now + timedelta(seconds=302)).retried == 3
    assert {row["error"] for row in world.rows()} == {
        "no worker began it before its start deadline"
    }
