"""What a cancel stops: its rows, their calls, and what an advance would have seeded after them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.errors import BadInput
from reconciler.contract.sql.tick import ADVANCE
from reconciler.contract.sql.worker import BEGIN
from reconciler.contract.states import Status
from reconciler.operator import steering, views
from reconciler.operator.sql.steering import CANCEL, CANCEL_BATCH
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.world import Scripted, World
from workers.steps.normalize import Normalized


def test_calls_of_a_cancelled_batch_are_cancelled_once(world: World) -> None:
    world.seed(3)
    world.spawner.answer = Spawned("fc-1")
    world.tick()
    assert steering.cancel(world.operator, world.operator.batch("batch")) == 3
    world.tick()
    world.tick()
    assert world.spawner.cancelled == ["fc-1"]
    assert {(row["status"], row["call_id"]) for row in world.rows()} == {("CANCELLED", "fc-1")}


def test_a_call_that_could_not_be_cancelled_is_tried_again(world: World) -> None:
    class Deaf(Scripted):
        def cancel(self, call_ids: Sequence[str]) -> list[str]:
            super().cancel(call_ids)
            return []

    world.seed(3)
    world.spawner.answer = Spawned("fc-1")
    world.tick()
    steering.cancel(world.operator, world.operator.batch("batch"))
    deaf = Deaf()
    for _ in range(2):
        tick(world.store, deaf, world.store.now())
    assert len(deaf.cancelled) == 2


def test_no_call_is_cancelled_under_a_worker_that_came_to_cancelled_rows(
    world: World,
) -> None:
    """A begin that waited for the cancel holds the rows, though it takes none of them."""
    world.spawner.answer = Spawned("fc-1")
    world.claimed(1)
    batch = world.operator.batch("batch")
    values = {"step": "normalize", "company_ids": world.ids(), "call_id": None}
    values |= {"holder": None, "alone": False, "group_sizes": [1]}
    with ThreadPoolExecutor(1) as threads, world.worker.transaction() as beginning:
        with world.operator.transaction() as cancelling:
            cancelling.execute(CANCEL_BATCH, {"batch_id": batch.id})
            cancelling.execute(CANCEL, {"batch_id": batch.id})
            begun = threads.submit(
                beginning.execute, BEGIN, {**values, "revision": SCHEMA_REVISION}
            )
            world.wait_for_blocked()
        assert begun.result(10).fetchall() == []
        assert threads.submit(world.tick).result(10).calls_cancelled == 1
        assert not world.rows()[0]["call_cancelled"]
    world.tick()
    assert world.rows()[0]["call_cancelled"]
    assert world.spawner.cancelled == ["fc-1", "fc-1"]


def test_a_worker_that_finishes_a_cancelled_row_is_refused(world: World) -> None:
    world.seed(2)
    world.tick()
    attempts = world.worker.begin("normalize", world.ids())
    steering.cancel(world.operator, world.operator.batch("batch"))
    assert world.worker.complete(attempts, [Normalized(), Normalized()]) == set()
    assert world.worker.heartbeat(attempts) == set()
    assert world.sql("SELECT * FROM results.normalized") == []
    assert world.statuses() == {"CANCELLED": 2}


def test_an_advance_under_way_leaves_nothing_pending_in_a_batch_that_is_cancelled(
    world: World,
) -> None:
    """The advance holds the batch until it has committed; the cancel then sees what it seeded."""
    world.seed(1, ["normalize", "step_a"])
    world.tick()
    world.work()
    batch = world.operator.batch("batch")
    with ThreadPoolExecutor(1) as threads:
        with world.store.transaction() as advancing:
            advancing.execute(ADVANCE.encode(), {"now": world.store.now(), "limit": 10})
            cancelled = threads.submit(steering.cancel, world.operator, batch)
            world.wait_for_blocked()
        assert cancelled.result(10) == 1
    assert world.statuses() == {"COMPLETED": 1, "CANCELLED": 1}


def test_a_cancelled_batch_is_nothing_to_the_advances_after_it(world: World) -> None:
    """Its completed rows would stay in the index of those to advance, before all others."""
    world.seed(2, ["normalize", "step_a"])
    world.tick()
    world.work(ids=world.ids()[:1])
    steering.cancel(world.operator, world.operator.batch("batch"))
    assert [(r["status"], r["advanced"]) for r in world.rows()] == [
        ("COMPLETED", True),
        ("CANCELLED", False),
    ]


def test_what_was_completed_before_a_cancel_is_counted_once(world: World) -> None:
    world.seed(3, ["normalize", "step_a"])
    world.tick()
    for company_id in world.ids()[:2]:
        world.store.advance(world.store.now())
        world.work(ids=[company_id])
    batch = world.operator.batch("batch")
    steering.cancel(world.operator, batch)
    shown = views.progress(world.operator, world.operator.batch("batch"))["steps"]
    counts = [{status: step[status] for status in Status if step[status]} for step in shown]
    assert counts == [{"COMPLETED": 2, "CANCELLED": 1}, {"CANCELLED": 1}]


def test_a_batch_that_was_stopped_by_hand_gets_no_further_rows(world: World) -> None:
    world.seed(1, ["normalize", "step_a"])
    world.tick()
    world.work()
    world.sql("UPDATE batches SET status = 'CANCELLED', finished_at = now()")
    assert world.store.advance(world.store.now()) == 0
    assert world.statuses() == {"COMPLETED": 1}


def test_an_advance_holds_no_batch_that_it_does_not_advance(world: World) -> None:
    world.seed(2, name="other")
    world.tick()
    world.work(ids=world.ids()[:1])
    assert world.store.advance(world.store.now()) == 1
    other = world.operator.batch("other")
    with ThreadPoolExecutor(1) as threads, world.store.transaction() as advancing:
        advancing.execute(ADVANCE.encode(), {"now": world.store.now(), "limit": 10})
        assert threads.submit(steering.cancel, world.operator, other).result(10) == 1


def test_the_advance_does_not_wait_for_a_cancel_that_is_under_way(world: World) -> None:
    """It would hold up the tick of all batches, and the two could wait for each other's rows."""
    world.seed(1, ["normalize", "step_a"], name="cancelled")
    world.seed(["other"], ["normalize", "step_a"], name="other")
    world.tick()
    world.work()
    batch = world.operator.batch("cancelled")
    with world.operator.transaction() as cancelling:
        cancelling.execute(CANCEL_BATCH, {"batch_id": batch.id})
        assert world.store.advance(world.store.now()) == 1
        cancelling.execute(CANCEL, {"batch_id": batch.id})
    assert world.store.advance(world.store.now()) == 0
    assert world.statuses() == {"COMPLETED": 2, "PENDING": 1}


def test_a_call_is_not_cancelled_while_a_worker_is_at_another_batchs_row(world: World) -> None:
    world.seed(["a"], name="cancelled")
    world.seed(["b"], name="living")
    world.spawner.answer = Spawned("fc-shared")
    world.tick()
    world.worker.begin("normalize", world.ids())
    steering.cancel(world.operator, world.operator.batch("cancelled"))
    world.tick()
    assert world.spawner.cancelled == []


def test_a_batch_that_has_finished_is_not_cancelled(world: World) -> None:
    world.claimed(1)
    world.work()
    world.tick()
    batch = world.operator.batch("batch")
    with pytest.raises(BadInput, match="has ended"):
        steering.cancel(world.operator, batch)
    assert world.operator.batch("batch").status == "FINISHED"
