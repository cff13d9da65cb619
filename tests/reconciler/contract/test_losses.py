"""Rows that were lost with a worker go out in smaller groups, which a worker works alone."""

from datetime import timedelta

import pytest

from reconciler.contract.claimed import GROUP_SIZES, Room
from reconciler.contract.worker_store import Failure
from tests.world import World


@pytest.fixture
def lost(world: World) -> World:
    """Thirty PENDING rows: twelve lost never, twelve twice, six three times or more."""
    world.seed(30)
    world.operator.set_step("normalize", {"chunk_size": 8})
    for losses, first, last in ((2, 12, 24), (3, 24, 28), (9, 28, 30)):
        world.sql(
            "UPDATE workflow_states SET losses = %(losses)s WHERE company_id = ANY(%(ids)s)",
            losses=losses,
            ids=world.ids()[first:last],
        )
    return world


def test_a_claim_makes_groups_as_small_as_losses_say(lost: World) -> None:
    chunks = lost.store.claim(lost.store.now())
    assert [len(chunk.company_ids) for chunk in chunks] == [8, 4, 8, 4, *[1] * 6]
    assert sorted(i for chunk in chunks for i in chunk.company_ids) == lost.ids()
    losses = {row["company_id"]: min(row["losses"], 3) for row in lost.rows()}
    assert all(len({losses[i] for i in chunk.company_ids}) == 1 for chunk in chunks)


def test_an_ordinary_call_begins_no_row_that_was_lost(lost: World) -> None:
    lost.store.claim(lost.store.now())
    begun = lost.worker.begin("normalize", lost.ids())
    assert [attempt.company.id for attempt in begun] == lost.ids()[:12]
    assert not lost.worker.are_suspect("normalize", lost.ids()[:12])
    assert lost.worker.are_suspect("normalize", lost.ids()[12:20])
    assert len(lost.worker.begin("normalize", lost.ids()[12:20], alone=True)) == 8
    assert not lost.worker.are_suspect("normalize", lost.ids()[12:20])  # another has them


def test_what_is_worked_alone_is_a_group_of_its_size(lost: World) -> None:
    """An older call may have the ids too, and many others."""
    lost.store.claim(lost.store.now())
    ids = lost.ids()
    twice, alone = ids[12:24], ids[24:]
    assert len(twice) > GROUP_SIZES[1]
    assert not lost.worker.are_suspect("normalize", twice)
    assert lost.worker.begin("normalize", twice, alone=True) == []
    assert len(lost.worker.begin("normalize", twice[:10], alone=True)) == 10
    assert lost.worker.begin("normalize", alone[:2], alone=True) == []
    assert len(lost.worker.begin("normalize", alone[-1:], alone=True)) == 1


def test_a_tick_takes_back_what_a_dead_process_of_a_living_host_had_begun(world: World) -> None:
    world.seed(3)
    host = Room(holder="here-1", family="here-", alive=("here-1",))
    world.store.claim(world.store.now(), host)
    first, second, third = world.ids()
    for name, company in (("here-1.1", first), ("here-1.2", second)):
        world.worker.holder = name
        world.worker.begin("normalize", [company])
    gone = Room(holder="here-1", family="here-", alive=("here-1",), gone=("here-1.1",))
    now = world.store.now()
    assert world.store.due(now, gone).orphaned
    assert world.store.give_back(gone, now) == 1
    assert not world.store.due(now, gone).orphaned
    rows = {row["company_id"]: row for row in world.rows()}
    assert rows[first]["lease_expires_at"] == now
    assert [rows[i]["holder"] for i in (second, third)] == ["here-1.2", "here-1"]
    assert rows[second]["lease_expires_at"] > now + timedelta(seconds=1)


def test_a_release_leaves_what_is_begun_and_what_is_anothers(world: World) -> None:
    world.seed(3)
    world.store.claim(world.store.now())
    first, second, third = world.ids()
    world.worker.begin("normalize", [first])
    assert world.worker.release("step_a", [first, second, third]) == 0
    assert world.worker.release("normalize", [first, second]) == 1
    states = [(row["status"], row["attempt"], row["queued_at"] is None) for row in world.rows()]
    assert states == [("IN_PROGRESS", 1, False), ("PENDING", 0, True), ("QUEUED", 1, False)]


def test_what_has_failed_is_not_released(world: World) -> None:
    """Its attempt was made, and the tick judges it."""
    world.claimed(1)
    attempts = world.worker.begin("normalize", world.ids())
    assert world.worker.fail(attempts, [Failure("no answer")])
    assert world.worker.release_begun(attempts) == set()
    assert [row["status"] for row in world.rows()] == ["IN_PROGRESS"]
