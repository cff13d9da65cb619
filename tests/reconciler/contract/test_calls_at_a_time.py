"""A provider has no more calls at its door than it takes at a time, and none while it is paused."""

from collections.abc import Iterator
from datetime import datetime
from threading import Thread

import pytest

from tests.limiting import END, SECOND, claim, keys, limit, provider_row, touched
from tests.paying import (
    asked,
    begun,
    census,
    lose,
    made,
    orders,
    paying,
    receipt,
    register,
    settle,
    staff,
    with_paid_steps,
)
from tests.standins.provider import Provider
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def now(world: World) -> datetime:
    return world.store.now() + SECOND


def test_no_more_are_claimed_than_may_be_under_way(world: World, now: datetime) -> None:
    limit(world, max_concurrent=2)
    world.seed(keys("a", 4), ["staff"])
    world.seed(keys("b", 4), ["census"], name="beside")
    assert claim(world, now) == 2
    assert touched(world, now + SECOND) == 0
    world.sql(f"{END} = (SELECT min(company_id) FROM orders)")
    assert claim(world, now + 2 * SECOND) == 1


@pytest.mark.parametrize("recall", ["none", "key", "lookup"])
@pytest.mark.parametrize("resolved", [False, True])
def test_a_call_of_a_dead_worker_may_be_at_the_door_until_it_has_timed_out(
    world: World, recall: str, resolved: bool
) -> None:
    limit(world, max_concurrent=2)
    register(world, staff, recall=recall)
    limit(world, max_concurrent=2)
    world.seed(6, ["staff"])
    assert claim(world, world.store.now()) == 2
    world.worker.send(begun(world, STAFF))
    lose(world)
    if resolved:
        settle(world)
    now = world.store.now()
    assert claim(world, now) == 0
    assert {row["attempt"] for row in world.rows("status = 'PENDING' AND losses = 0")} == {0}
    assert claim(world, now + (STAFF.timeout_s - 1) * SECOND) == 0
    assert claim(world, now + (STAFF.timeout_s + 1) * SECOND) == 2


def test_calls_under_way_are_counted_once(world: World) -> None:
    """Their rows are in flight, and they are at the door."""
    limit(world, max_concurrent=4)
    world.seed(6, ["staff"])
    world.sql("UPDATE enrichment_registry SET max_in_flight = 2 WHERE step_name = 'staff'")
    assert claim(world, world.store.now()) == 2
    world.worker.send(begun(world, STAFF))
    world.sql("UPDATE enrichment_registry SET max_in_flight = 100 WHERE step_name = 'staff'")
    assert claim(world, world.store.now()) == 2


@pytest.mark.parametrize("name", ["acme", "other"])
def test_a_call_of_a_cancelled_row_is_at_the_door_of_its_own_provider(
    world: World, name: str
) -> None:
    limit(world, max_concurrent=2)
    world.seed(6, ["staff"])
    assert claim(world, world.store.now()) == 2
    world.worker.send(begun(world, STAFF))
    world.sql(f"{END} IN (SELECT company_id FROM orders)")
    world.sql("UPDATE orders SET provider = %(name)s", name=name)
    assert claim(world, world.store.now()) == (0 if name == "acme" else 2)


def test_a_row_whose_call_may_be_at_the_door_is_not_looked_at_before(world: World) -> None:
    """Each tick would else write it."""
    limit(world, max_concurrent=2)
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    lose(world)
    now = world.store.now()
    assert claim(world, now) == 0
    assert touched(world, now) == 0


def test_a_provider_that_takes_any_number_may_be_called_again_at_once(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    lose(world)
    assert claim(world, world.store.now()) == 1


def test_a_claim_waits_for_a_worker_that_pauses_the_provider(world: World, now: datetime) -> None:
    limit(world, "4/s")
    world.seed(3, ["staff"])
    claimed: list[int] = []
    tick = Thread(target=lambda: claimed.append(claim(world, now)))
    with world.operator.transaction() as worker:
        worker.execute("UPDATE providers SET paused_until = 'infinity'")
        tick.start()
        world.wait_for_blocked()
    tick.join()
    assert claimed == [0]
    assert world.statuses() == {"PENDING": 3}


def test_a_call_of_a_dead_worker_that_was_not_sent_is_at_no_door(world: World) -> None:
    limit(world, max_concurrent=2)
    world.seed(6, ["staff"])
    assert claim(world, world.store.now()) == 2
    begun(world, STAFF)
    lose(world)
    assert claim(world, world.store.now()) == 2


@pytest.mark.parametrize("status", [200, 500])
def test_a_call_that_was_answered_is_at_no_door(world: World, status: int) -> None:
    limit(world, max_concurrent=1)
    world.seed(1, ["staff"])
    found = asked(world)
    world.worker.receive([receipt(found, 1, status)])
    lose(world)
    assert claim(world, world.store.now()) == 1


def test_calls_for_many_are_counted_as_calls(world: World, now: datetime) -> None:
    """Also where each is for few companies, which came one after the other."""
    limit(world, max_concurrent=2)
    for i in range(4):
        world.seed(keys(f"batch-{i}", 1), ["crowd"], name=f"batch-{i}")
        claim(world, now + i * SECOND)
    assert world.statuses() == {"QUEUED": 2, "PENDING": 2}


def pause(world: World, until: str, **changes: object) -> None:
    limit(world, **changes)
    world.sql(f"UPDATE providers SET paused_until = {until}")


@pytest.mark.parametrize("until", ["'infinity'", "now() + interval '1 hour'"])
def test_of_a_paused_provider_nothing_is_claimed(world: World, now: datetime, until: str) -> None:
    world.seed(3, ["staff"])
    pause(world, until)
    assert touched(world, now) == 0
    pause(world, "NULL")
    assert claim(world, now) == 3


def test_a_pause_that_is_over_stops_nobody(world: World, now: datetime) -> None:
    world.seed(3, ["staff"])
    pause(world, "now() - interval '1 s'")
    assert claim(world, now) == 3


def test_no_call_is_sent_to_a_paused_provider(world: World) -> None:
    world.seed(1, ["staff"])
    claim(world, world.store.now())
    (found,) = begun(world, STAFF)
    pause(world, "'infinity'")
    assert world.worker.send([found]) == {}
    assert orders(world)[0]["tries"] == 0
    pause(world, "now() - interval '1 s'")
    assert len(world.worker.send([found])) == 1


def test_a_provider_that_was_failing_gets_one_call_until_it_is_well(world: World) -> None:
    world.seed(keys("a", 4), ["staff"])
    world.seed(keys("b", 4), ["census"], name="beside")
    pause(world, "now() - interval '1 s'", failures=2)
    now = world.store.now()
    assert claim(world, now) == 1
    assert touched(world, now + SECOND) == 0
    row = world.rows("status = 'QUEUED'")[0]
    step = STAFF if row["step_name"] == "staff" else made(census)
    (found,) = begun(world, step)
    assert found.order
    assert found.order.probing
    assert claim(world, now + 2 * SECOND) == 0
    world.worker.note_recovered("acme")
    known = provider_row(world)
    assert (known["failures"], known["waits_s"], known["pause_kind"]) == (0, None, None)
    assert claim(world, now + 3 * SECOND) == 7


def test_a_call_of_a_provider_that_is_well_is_no_probe(world: World) -> None:
    world.seed(1, ["staff"])
    order = asked(world).order
    assert order
    assert not order.probing
