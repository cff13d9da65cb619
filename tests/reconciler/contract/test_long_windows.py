"""Calls that fill a long window are counted, and none goes out while it is full."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from reconciler.contract.limits import MARGIN, MARGIN_S
from reconciler.operator import steering
from reconciler.spawners.protocol import Refused, Spawned
from tests.limiting import (
    END,
    SECOND,
    claim,
    gap_of,
    gaps,
    keys,
    limit,
    provider_row,
    times,
    touched,
)
from tests.paying import begun, made, orders, paying, settle, staff, with_paid_steps
from tests.standins.provider import Provider
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)
AT_4 = 7  # calls of a claim at 4/s
DAY = timedelta(days=1) + MARGIN_S * SECOND


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def now(world: World) -> datetime:
    return world.store.now() + SECOND


def test_a_long_window_lets_no_more_through_until_its_first_call_leaves_it(
    world: World, now: datetime
) -> None:
    limit(world, "5/d")
    world.seed(8, ["staff"])
    assert claim(world, now) == 5
    opens = times(world)[0] + DAY
    assert claim(world, now + SECOND) == 0
    assert provider_row(world)["full_until"] == opens
    assert touched(world, opens - SECOND) == 0
    assert claim(world, opens) == 1
    assert claim(world, opens + SECOND) == 2
    assert world.statuses() == {"QUEUED": 8}


def test_the_margin_of_a_long_window_is_a_part_of_it(world: World, now: datetime) -> None:
    limit(world, "2/2min")
    world.seed(5, ["staff"])
    assert claim(world, now) == 2
    opens = times(world)[0] + 120 * (1 + MARGIN) * SECOND
    claim(world, now + SECOND)
    assert provider_row(world)["full_until"] == opens


def test_of_two_long_windows_the_one_that_opens_last_counts(world: World, now: datetime) -> None:
    limit(world, "2/h,2/d")
    world.seed(4, ["staff"])
    assert claim(world, now) == 2
    assert claim(world, now + SECOND) == 0
    assert provider_row(world)["full_until"] == times(world)[0] + DAY


def test_the_calls_of_another_provider_are_not_counted(world: World, now: datetime) -> None:
    limit(world, "2/d")
    world.sql("INSERT INTO provider_calls SELECT 'other', %(now)s", now=now)
    world.seed(4, ["staff"])
    assert claim(world, now) == 2


def test_a_window_whose_room_is_known_is_not_counted_again(world: World, now: datetime) -> None:
    limit(world, "9/d")
    world.seed(3, ["staff"])
    claim(world, now)
    assert provider_row(world)["calls_left"] == 6
    world.sql("DELETE FROM provider_calls")
    world.seed(keys("b", 3), ["staff"], name="more")
    claim(world, now + SECOND)
    assert provider_row(world)["calls_left"] == 3


def test_short_and_long_windows_hold_together(world: World, now: datetime) -> None:
    limit(world, "4/s,9/d")
    world.seed(20, ["staff"])
    assert [claim(world, now + i * SECOND) for i in range(4)] == [AT_4, 2, 0, 0]
    assert set(gaps(times(world))) == {gap_of(4)}


def test_only_calls_that_fill_a_long_window_are_kept(world: World, now: datetime) -> None:
    limit(world, "4/s")
    world.seed(3, ["staff"])
    claim(world, now)
    assert world.sql("SELECT * FROM provider_calls") == []


def test_calls_that_did_not_go_out_fill_no_window(world: World) -> None:
    """Their spawn was refused: they go out as soon as there are workers."""
    limit(world, "3/d")
    world.seed(5, ["staff"])
    world.spawner.answer = Refused("no room")
    now = world.store.now()
    world.tick(now)
    world.sql("UPDATE workflow_states SET available_at = %(now)s", now=now)
    world.sql("DELETE FROM throttles")
    world.spawner.answer = Spawned()
    world.tick(now + SECOND)
    assert world.statuses() == {"QUEUED": 3, "PENDING": 2}
    assert world.sql("SELECT count(*) AS n FROM provider_calls")[0]["n"] == 3


def test_calls_that_did_not_go_out_open_a_window_that_was_full(world: World) -> None:
    """Another tick had found it full meanwhile."""
    limit(world, "3/d")
    world.seed(5, ["staff"])
    now = world.store.now()
    chunks = world.store.claim(now)
    assert claim(world, now + SECOND) == 0
    assert provider_row(world)["full_until"]
    world.store.release(chunks, [now] * len(chunks), ["no room"] * len(chunks))
    assert claim(world, now + 2 * SECOND) == 3


@pytest.mark.parametrize("resolved", [False, True])
def test_calls_of_a_cancelled_batch_open_a_window_that_was_full(
    world: World, resolved: bool
) -> None:
    limit(world, "3/d")
    batch = world.operator.batch(world.seed(keys("a", 3), ["staff"], name="first"))
    world.seed(keys("b", 3), ["staff"], name="second")
    world.sql("UPDATE batches SET paused = (name = 'second')")
    now = world.store.now()
    assert claim(world, now) == 3
    world.sql("UPDATE batches SET paused = false")
    assert claim(world, now + SECOND) == 0
    steering.cancel(world.operator, batch)
    if resolved:
        settle(world)
        assert world.sql("SELECT * FROM provider_calls") == []
    assert claim(world, now + 2 * SECOND) == 3


@pytest.mark.parametrize("resolved", [False, True])
def test_the_calls_of_others_fill_it_as_before(world: World, resolved: bool) -> None:
    limit(world, "3/d")
    batch = world.operator.batch(world.seed(keys("a", 1), ["staff"], name="first"))
    world.seed(keys("b", 2), ["staff"], name="second")
    now = world.store.now()
    assert claim(world, now) == 3
    steering.cancel(world.operator, batch)
    if resolved:
        settle(world)
    world.seed(keys("c", 3), ["staff"], name="third")
    assert claim(world, now + SECOND) == 1


def test_an_order_that_is_given_back_opens_the_window_of_its_own_provider(world: World) -> None:
    limit(world, "3/d", calls_left=7)
    world.sql("INSERT INTO providers (name, calls_left) VALUES ('other', 7)")
    batch = world.operator.batch(world.seed(1, ["staff"]))
    assert claim(world, world.store.now()) == 1
    steering.cancel(world.operator, batch)
    settle(world)
    known = world.sql("SELECT name, calls_left FROM providers ORDER BY name")
    assert [row["calls_left"] for row in known] == [None, 7]


def test_a_call_of_another_provider_that_did_not_go_out_opens_no_window(world: World) -> None:
    limit(world, "3/d")
    world.seed(6, ["staff"])
    now = world.store.now()
    assert claim(world, now) == 3
    assert claim(world, now + SECOND) == 0
    world.sql(f"{END} = (SELECT min(company_id) FROM orders)")
    world.sql(
        "UPDATE orders SET provider = 'other'"
        " WHERE company_id = (SELECT min(company_id) FROM orders)"
    )
    assert touched(world, now + 2 * SECOND) == 0


def test_a_claim_does_not_wait_for_a_worker_that_has_an_order_which_did_not_go_out(
    world: World,
) -> None:
    limit(world, "3/d")
    batch = world.operator.batch(world.seed(keys("a", 2), ["staff"], name="first"))
    now = world.store.now()
    assert claim(world, now) == 2
    steering.cancel(world.operator, batch)
    world.seed(keys("b", 3), ["staff"], name="second")
    with world.operator.transaction() as worker:
        worker.execute("SELECT FROM orders FOR UPDATE")
        assert claim(world, now + SECOND) == 1
    assert claim(world, now + 2 * SECOND) == 2


def test_calls_that_went_out_fill_a_window_though_their_batch_was_cancelled(world: World) -> None:
    limit(world, "3/d")
    batch = world.operator.batch(world.seed(keys("a", 3), ["staff"], name="first"))
    world.sql("UPDATE enrichment_registry SET recall = 'lookup'")
    now = world.store.now()
    assert claim(world, now) == 3
    world.worker.send(begun(world, STAFF))
    steering.cancel(world.operator, batch)
    settle(world)
    world.seed(keys("b", 3), ["staff"], name="second")
    assert claim(world, now + SECOND) == 0


def test_a_call_for_many_fills_a_window_though_one_of_its_orders_was_given_back(
    world: World,
) -> None:
    """The others may have gone out with it."""
    limit(world, "3/d")
    world.seed(10, ["crowd"])
    claim(world, world.store.now())
    world.sql(f"{END} = (SELECT min(id) FROM companies)")
    settle(world)
    assert [bool(order["void_at"]) for order in orders(world)].count(True) == 1
    assert world.sql("SELECT count(*) AS n FROM provider_calls")[0]["n"] == 1
