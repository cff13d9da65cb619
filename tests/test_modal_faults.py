"""Everything that can go wrong between a tick and Modal, with the real client: nothing is lost."""

import time
from dataclasses import dataclass
from datetime import timedelta

import pytest
from grpclib import Status as Code

from reconciler.spawners.modal import GRACE_S, ModalSpawner
from reconciler.tick import TickReport, tick
from tests.bench.dispatch import rates
from tests.controlplane.client import environment
from tests.controlplane.execution import InProcess
from tests.controlplane.faults import (
    Delay,
    Fail,
    Fault,
    Hang,
    LoseResponse,
    dead_url,
    silent_server,
    throttled,
)
from tests.controlplane.plane import ControlPlane
from tests.terminal import Terminal
from tests.world import World

BOUND_S = 1.0
SLACK_S = 1.5  # a busy machine's


@dataclass
class Dispatcher:
    """A database and a spawner that speaks to the control plane."""

    world: World
    plane: ControlPlane
    spawner: ModalSpawner

    def tick(self) -> TickReport:
        return tick(self.world.store, self.spawner, self.world.store.now())

    def timed(self) -> tuple[TickReport, float]:
        started = time.monotonic()
        return self.tick(), time.monotonic() - started

    def work(self) -> None:
        """Have everything that was spawned executed, in this process."""
        self.plane.run_with(InProcess())
        assert self.plane.until(lambda: all(call.done for call in self.plane.calls))
        self.plane.run_with(None)
        assert all(call.succeeded for call in self.plane.calls)

    def spawned(self, step: str) -> list[list[int]]:
        return [call.company_ids for call in self.plane.calls if call.function == step]


@pytest.fixture
def modal(world: World, plane: ControlPlane) -> Dispatcher:
    return Dispatcher(world, plane, ModalSpawner(BOUND_S))


def test_claimed_rows_are_spawned_in_chunks_of_ids_alone(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(7)
    world.operator.set_step("normalize", {"chunk_size": 3})
    assert modal.tick().spawned == 7
    calls = modal.plane.calls
    assert sorted(i for call in calls for i in call.company_ids) == world.ids()
    assert sorted(len(call.company_ids) for call in calls) == [1, 3, 3]
    for call in calls:
        assert call.arguments == ((call.company_ids,), {})
        rows = world.rows("call_id = %(id)s", id=call.call_id)
        assert [row["company_id"] for row in rows] == sorted(call.company_ids)


def test_a_function_is_looked_up_once_per_process(modal: Dispatcher) -> None:
    modal.world.operator.set_step("normalize", {"chunk_size": 1})
    before = modal.plane.counts["FunctionGet"]
    for name in ("first", "second"):
        modal.world.seed([f"{name}-{i}" for i in range(5)], name=name)
        assert modal.tick().spawned == 5
    assert modal.plane.counts["FunctionGet"] - before == 1


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


@pytest.mark.parametrize(("rpc", "fault", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_was_certainly_not_spawned_goes_back(
    modal: Dispatcher, rpc: str, fault: Fault, reason: str
) -> None:
    world = modal.world
    world.seed(3)
    modal.plane.inject(rpc, fault)
    report, took_s = modal.timed()
    assert (report.claimed, report.released, report.spawned, report.unknown) == (3, 3, 0, 0)
    assert took_s < BOUND_S + SLACK_S
    for row in world.rows():
        assert (row["status"], row["attempt"]) == ("PENDING", 0)
        assert row["error"].startswith(f"spawn refused: {reason}")
        assert row["available_at"] > world.store.now()
    assert modal.plane.calls == []


UNKNOWN: dict[str, tuple[Fault, str]] = {
    "no answer": (Hang(), "Modal did not answer within 1 s"),
    "answered too late": (Delay(3 * BOUND_S), "Modal did not answer within 1 s"),
    "down": (Fail(Code.UNAVAILABLE, "down"), "ServiceError: down"),
    "broken": (Fail(Code.INTERNAL, "oops"), "InternalError: oops"),
}


@pytest.mark.parametrize(("fault", "reason"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_may_have_been_spawned_stays_queued(
    modal: Dispatcher, fault: Fault, reason: str
) -> None:
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


def test_one_steps_broken_function_does_not_delay_another_step(modal: Dispatcher) -> None:
    world, patient = modal.world, ModalSpawner(timeout_s=30)
    world.seed(3, ["normalize"], name="well")
    world.seed(3, ["step_a"], name="broken")
    world.operator.set_step("step_a", {"backoff_s": 60, "backoff_max_s": 60})
    modal.plane.inject("FunctionMap", Hang(), function="step_a")
    started = time.monotonic()
    report = tick(world.store, patient, world.store.now())
    assert time.monotonic() - started < GRACE_S + SLACK_S
    assert (report.spawned, report.unknown) == (3, 3)
    world.seed(["a", "b"], ["normalize"], name="more of the well one")
    world.seed(["a", "b"], ["step_a"], name="more of the broken one")
    started = time.monotonic()
    report = tick(world.store, patient, world.store.now())
    assert time.monotonic() - started < SLACK_S
    assert (report.claimed, report.spawned) == (2, 2)


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
        with environment({"MODAL_SERVER_URL": url, **account}):
            started = time.monotonic()
            report = tick(world.store, ModalSpawner(BOUND_S), world.store.now())
            assert time.monotonic() - started < BOUND_S + SLACK_S
    assert report.released == 3
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


def test_what_does_not_fit_into_the_bound_is_not_sent_and_goes_back(modal: Dispatcher) -> None:
    """More calls than requests are sent at once, and a server that is slow to answer."""
    world = modal.world
    world.seed(250)
    world.operator.set_step("normalize", {"chunk_size": 1})
    modal.plane.inject("FunctionMap", Delay(2))
    report = tick(world.store, ModalSpawner(timeout_s=3), world.store.now())
    assert (report.spawned, report.unknown, report.released) == (100, 100, 50)
    assert {r["attempt"] for r in world.rows("status = 'PENDING'")} == {0}


def test_a_deep_backlog_slows_the_claim_instead_of_piling_up(modal: Dispatcher) -> None:
    """Two whole budgets' worth of calls wait there, of which this database knows none."""
    world = modal.world
    world.seed(500)
    world.operator.set_step("normalize", {"max_in_flight": 100, "chunk_size": 10})
    world.operator.set_step("normalize", {"backoff_s": 10, "backoff_max_s": 10})
    modal.plane.set_backlog("normalize", 20)
    now = world.store.now()
    report = tick(world.store, modal.spawner, now)
    assert (report.claimed, report.released) == (100, 100)
    reason = "spawn refused: 20 calls of it are waiting on Modal already"
    assert {row["error"] for row in world.rows("error IS NOT NULL")} == {reason}
    assert not tick(world.store, modal.spawner, now + timedelta(seconds=4))
    modal.plane.set_backlog("normalize", 0)
    claims = []
    for tick_number in range(5):
        at = now + timedelta(seconds=12 + tick_number)
        claims.append(tick(world.store, modal.spawner, at).claimed)
    assert claims == [10, 20, 40, 30, 0]


def test_a_backlog_leaves_room_for_what_is_short_of_a_budget(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(100)
    world.operator.set_step("normalize", {"max_in_flight": 100, "chunk_size": 10})
    modal.plane.set_backlog("normalize", 7)
    report = modal.tick()
    assert (report.spawned, report.released) == (30, 70)


def test_a_rate_limit_slows_the_claim_and_loses_nothing(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(200)
    world.operator.set_step("normalize", {"chunk_size": 1, "backoff_s": 2, "backoff_max_s": 2})
    now, reports = world.store.now(), []
    for tick_number in range(40):
        modal.plane.clear_faults()
        modal.plane.inject("FunctionMap", Delay(0), times=20)
        modal.plane.inject("FunctionMap", throttled(60))
        reports.append(tick(world.store, modal.spawner, now + timedelta(seconds=3 * tick_number)))
        if world.statuses() == {"QUEUED": 200}:
            break
    assert world.statuses() == {"QUEUED": 200}
    assert {row["attempt"] for row in world.rows()} == {1}
    assert len(modal.plane.calls) == 200
    assert reports[0].released == 180
    assert max(report.released for report in reports[1:]) <= 40


def test_a_refusal_can_be_read(modal: Dispatcher, tracer: Terminal) -> None:
    modal.world.seed(3)
    modal.plane.inject("FunctionMap", Fail(Code.RESOURCE_EXHAUSTED, "too many inputs"))
    modal.tick()
    reason = "spawn refused: ResourceExhaustedError: too many inputs"
    assert tracer.json("inspect", "batch")["failures"] == [
        {"step": "normalize", "error": reason, "count": 3}
    ]
    assert reason in " ".join(tracer("inspect", "batch").split())
    assert reason in tracer.json("explain", "batch", "company-0")["reason"]


def test_one_process_dispatches_twenty_thousand_ids_a_second() -> None:
    """In chunks of 150, to a control plane in a process of its own; 70,000 on a quiet machine."""
    assert max(rates()) >= 20_000
