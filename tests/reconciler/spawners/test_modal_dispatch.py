"""What a tick sends to Modal, how fast, and how it slows down where Modal has enough."""

from datetime import timedelta

import pytest
from grpclib import Status as Code

from reconciler.spawners.modal_lane import MAX_REQUESTS
from tests.bench.dispatch import rounds
from tests.reconciler.spawners.dispatcher import Dispatcher
from tests.standins.controlplane.faults import Delay, Fail, Hang, throttled
from tests.terminal import Terminal


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


def test_what_does_not_fit_into_the_bound_is_not_sent_and_goes_back(modal: Dispatcher) -> None:
    """More calls than are sent at once, and a server that answers none of them."""
    world = modal.world
    world.seed(250)
    world.operator.set_step("normalize", {"chunk_size": 1})
    modal.plane.inject("FunctionMap", Hang())
    with modal.within(2) as patient:
        report = patient.tick()
    assert (report.spawned, report.unknown, report.released) == (
        0,
        MAX_REQUESTS,
        250 - MAX_REQUESTS,
    )
    assert {r["attempt"] for r in world.rows("status = 'PENDING'")} == {0}


def test_a_deep_backlog_slows_the_claim_instead_of_piling_up(modal: Dispatcher) -> None:
    """Two whole capacities' worth of calls wait there, of which this database knows none."""
    world = modal.world
    world.seed(500)
    world.operator.set_step("normalize", {"max_in_flight": 200, "chunk_size": 1})
    world.operator.set_step("normalize", {"backoff_s": 10, "backoff_max_s": 10})
    modal.plane.set_backlog("normalize", 400)
    now = world.store.now()
    with modal.within(30) as patient:
        report = patient.tick(now)
        assert (report.claimed, report.released) == (200, 200)
        reason = "spawn refused: 400 of its calls already wait on Modal"
        assert {row["error"] for row in world.rows("error IS NOT NULL")} == {reason}
        assert not patient.tick(now + timedelta(seconds=4))
        modal.plane.set_backlog("normalize", 0)
        claims = [patient.tick(now + timedelta(seconds=12 + i)).claimed for i in range(9)]
    assert claims == [1, 2, 4, 8, 16, 32, 64, 73, 0]


def test_a_backlog_leaves_room_for_what_is_short_of_a_capacity(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(200)
    world.operator.set_step("normalize", {"max_in_flight": 200, "chunk_size": 1})
    modal.plane.set_backlog("normalize", 170)
    report = modal.tick()
    assert (report.spawned, report.released) == (30, 170)


def test_a_few_calls_may_always_wait(modal: Dispatcher) -> None:
    """However large a step's chunks are: that they wait need not mean that they pile up."""
    modal.world.seed(5)
    modal.world.operator.set_step("normalize", {"max_in_flight": 100, "chunk_size": 100})
    modal.plane.set_backlog("normalize", 99)
    assert modal.tick().spawned == 5


def test_a_rate_limit_slows_the_claim_and_loses_nothing(modal: Dispatcher) -> None:
    world = modal.world
    world.seed(200)
    world.operator.set_step("normalize", {"chunk_size": 1, "backoff_s": 2, "backoff_max_s": 2})
    now, reports = world.store.now(), []
    with modal.within(30) as patient:
        for second in range(0, 120, 3):
            modal.plane.clear_faults()
            modal.plane.inject("FunctionMap", Delay(0), times=20)
            modal.plane.inject("FunctionMap", throttled(60))
            reports.append(patient.tick(now + timedelta(seconds=second)))
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
    (note,) = tracer.json("inspect", "batch")["waiting"]
    assert (note["step"], note["error"], note["count"]) == ("normalize", reason, 3)
    assert reason in " ".join(tracer("inspect", "batch").split())
    assert reason in tracer.json("explain", "batch", "company-0")["says"]


@pytest.mark.proof
def test_one_process_dispatches_twenty_thousand_ids_a_second() -> None:
    """In chunks of 150, to a control plane in a process of its own.

    By its CPU time, since other tests run beside this one; `python -m tests.bench.dispatch` on a
    quiet machine says the same by the clock.
    """
    assert max(one.by_cpu for one in rounds()) >= 20_000
