"""What a worker may write for as long as its attempt is its own, and what it may not after that."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from reconciler.contract.claimed import Verdict
from reconciler.contract.results import Company
from reconciler.contract.worker_store import Failure
from tests.world import World, doing
from workers.runtime.calls import WorkReport
from workers.steps.normalize import Normalized


def test_a_stale_attempt_writes_neither_status_nor_domain_row(world: World) -> None:
    world.claimed(1)

    def overtaken(_: Company) -> Normalized:
        world.sql("UPDATE workflow_states SET attempt = attempt + 1")
        return Normalized(short_name="late")

    assert world.work(doing(overtaken)) == WorkReport(begun=1, stale=1)
    assert world.statuses() == {"IN_PROGRESS": 1}
    assert world.sql("SELECT * FROM results.normalized") == []


def test_a_heartbeat_keeps_the_lease_of_a_slow_step(world: World) -> None:
    world.claimed(1)
    world.operator.set_step("normalize", {"lease_s": 1.5})

    def slow(_: Company) -> Normalized:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            assert not world.tick()  # at no moment is the lease over
            time.sleep(0.05)
        return Normalized()

    assert world.work(doing(slow)).completed == 1


def test_a_heartbeat_does_not_renew_what_has_failed(world: World) -> None:
    world.claimed(1)
    attempts = world.worker.begin("normalize", world.ids())
    world.worker.fail(attempts, [Failure("no answer")])
    assert world.worker.heartbeat(attempts) == set()
    assert world.tick().retried == 1


def test_a_reap_passes_over_a_row_that_its_worker_is_writing(world: World) -> None:
    world.claimed(2)
    first, _ = world.worker.begin("normalize", world.ids())
    later = world.store.now() + timedelta(minutes=5)
    with ThreadPoolExecutor(1) as threads, world.worker.transaction() as writing:
        held = "SELECT FROM workflow_states WHERE company_id = %(id)s FOR UPDATE"
        writing.execute(held, {"id": first.company.id})
        verdict = Verdict(later, "expired", "worker_silent")
        reaped = threads.submit(world.store.reap, later, lambda _: verdict)
        assert reaped.result(10) == (1, 0)
    assert world.worker.complete([first], [Normalized()]) == {("normalize", first.company.id)}


def test_a_cancelled_company_is_not_paid_for(world: World) -> None:
    world.claimed(3)
    world.operator.set_step("normalize", {"lease_s": 0.3})
    worked: list[int] = []

    def function(company: Company) -> Normalized:
        worked.append(company.id)
        if len(worked) == 1:
            world.sql(
                "UPDATE workflow_states SET status = 'CANCELLED', lease_expires_at = NULL,"
                " finished_at = now() WHERE company_id <> %(id)s",
                id=company.id,
            )
            time.sleep(1.0)  # ten heartbeats long
        return Normalized()

    step = doing(function, concurrency=1)
    assert world.work(step) == WorkReport(begun=3, completed=1, stale=2)
    assert len(worked) == 1
