"""A claim takes as many calls of a provider as its limits allow, and gives each its time."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from reconciler.contract.limits import HORIZON_S, LEAD_S, MARGIN, MARGIN_S
from reconciler.operator.steering import Rerun, rerun
from reconciler.spawners.protocol import Refused, Spawned
from tests.limiting import SECOND, claim, gap_of, gaps, keys, limit, times, touched
from tests.paying import (
    PRICE,
    cap,
    crowd,
    made,
    orders,
    paying,
    staff,
    through,
    with_paid_steps,
)
from tests.standins.provider import Provider
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF, CROWD = made(staff), made(crowd)
AT_4 = 1 + int((HORIZON_S - LEAD_S) * 4 / (1 + MARGIN))  # calls of a claim at 4/s
DAY = timedelta(days=1) + MARGIN_S * SECOND


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def now(world: World) -> datetime:
    return world.store.now() + SECOND


def of_batch(world: World) -> dict[str, int]:
    """How many rows of each batch are in flight."""
    found = world.sql(
        "SELECT b.name, count(*) AS n FROM workflow_states w JOIN batches b ON b.id = w.batch_id"
        " WHERE w.status IN ('QUEUED', 'IN_PROGRESS') GROUP BY b.name"
    )
    return {row["name"]: row["n"] for row in found}


def test_calls_are_evenly_spaced_over_steps_batches_chunks_and_claims(
    world: World, now: datetime
) -> None:
    limit(world, "20/s")
    world.sql("UPDATE enrichment_registry SET chunk_size = 3")
    for step in ("staff", "census"):
        for name in ("one", "two"):
            world.seed(keys(f"{step}-{name}", 20), [step], name=f"{step}-{name}")
    first = claim(world, now)
    second = claim(world, now + SECOND)
    found = times(world)
    assert first == 34
    assert len(found) == first + second == world.statuses()["QUEUED"]
    assert set(gaps(found)) == {gap_of(20)}
    assert found[0] == now + LEAD_S * SECOND
    assert found[-1] <= now + (1 + HORIZON_S) * SECOND


def test_what_has_no_room_waits_as_if_it_had_not_been_claimed(world: World, now: datetime) -> None:
    """Two steps have claimed as many as each may by itself."""
    limit(world, "4/s")
    world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 100)")
    world.seed(keys("a", 10), ["staff"])
    world.seed(keys("b", 10), ["census"], name="beside")
    assert claim(world, now) == AT_4
    waiting = world.rows("status = 'PENDING'")
    assert len(waiting) == 20 - AT_4
    assert {(row["attempt"], row["queued_at"]) for row in waiting} == {(0, None)}
    assert {row["lease_expires_at"] for row in waiting} == {None}
    assert len(orders(world)) == AT_4
    assert cap(world)["reserved"] == AT_4 * PRICE


def test_a_claim_touches_no_more_rows_than_the_next_seconds_have_room_for(
    world: World, now: datetime
) -> None:
    """Each tick would else write those that wait."""
    limit(world, "4/s")
    world.seed(20, ["staff"])
    assert touched(world, now) == AT_4


def test_a_claim_waits_until_it_is_worth_it(world: World, now: datetime) -> None:
    """Each tick would else claim one row."""
    limit(world, "4/s")
    world.seed(40, ["staff"])
    assert claim(world, now) == AT_4
    assert touched(world, now + 0.25 * SECOND) == 0
    assert touched(world, now + SECOND) == 4


def test_a_burst_is_claimed_at_once(world: World, now: datetime) -> None:
    limit(world, "4/s", burst=10)
    world.seed(40, ["staff"])
    assert touched(world, now) == AT_4 + 9
    assert gaps(times(world))[:9] == [0.0] * 9


def test_higher_priorities_come_first_over_all_steps(world: World, now: datetime) -> None:
    limit(world, "4/s")
    world.seed(keys("a", 10), ["staff"], name="low")
    world.seed(keys("b", 5), ["census"], name="high", priority=5)
    claim(world, now)
    assert of_batch(world) == {"high": 5, "low": AT_4 - 5}
    high = times(world, "step_name = 'census'")
    assert high[-1] < times(world, "step_name = 'staff'")[0]


@pytest.mark.parametrize("steps", [("staff", "staff"), ("staff", "census")])
def test_batches_of_one_priority_share_equally(
    world: World, now: datetime, steps: tuple[str, str]
) -> None:
    """A small one ends in twice the time that it takes alone."""
    limit(world, "4/s")
    world.seed(keys("a", 60), [steps[0]], name="large")
    world.seed(keys("b", 12), [steps[1]], name="small")
    claimed = 0
    for i in range(10):
        claimed += claim(world, now + i * SECOND)
        found = of_batch(world)
        if claimed >= 24:
            break
        assert abs(found["large"] - found["small"]) <= i + 1
    assert found["small"] == 12


def test_rows_that_make_no_call_need_no_time(world: World, now: datetime) -> None:
    """Their answers are kept, and read anew."""
    world.seed(3, ["staff"])
    through(world)
    limit(world, "1/h", calls_left=0)
    rerun(world.operator, world.operator.batch("batch"), Rerun("staff", kept=True))
    assert claim(world, now) == 3
    assert times(world) == []


def test_a_call_for_many_has_one_time(world: World, now: datetime) -> None:
    limit(world, "4/s")
    world.sql("UPDATE enrichment_registry SET chunk_size = 20 WHERE step_name = 'crowd'")
    world.seed(25, ["crowd"])
    assert claim(world, now) == 25
    assert sorted(Counter(order["send_at"] for order in orders(world)).values()) == [5, 10, 10]
    assert gaps(times(world)) == [gap_of(4)] * 2


def test_as_many_calls_for_many_as_there_is_room_for(world: World, now: datetime) -> None:
    limit(world, "4/s")
    world.seed(100, ["crowd"])
    assert touched(world, now) == 10 * AT_4
    assert len(times(world)) == AT_4


def test_rows_that_come_back_go_out_at_new_times(world: World) -> None:
    """Those that they had were in the future: all would go out at once beside the next ones."""
    limit(world, "4/s")
    world.seed(40, ["staff"])
    world.spawner.answer = Refused("no room")
    now = world.store.now()
    world.tick(now)
    assert world.statuses() == {"PENDING": 40}
    first = times(world)
    world.sql("UPDATE workflow_states SET available_at = %(now)s", now=now)
    world.sql("DELETE FROM throttles")
    world.spawner.answer = Spawned()
    world.tick(now + SECOND)
    again = times(
        world,
        "for_attempt IS NOT NULL AND send_at > %(last)s".replace(
            "%(last)s", "'" + first[-1].isoformat() + "'"
        ),
    )
    assert len(again) == world.statuses()["QUEUED"]
    assert min(again) - max(first) >= gap_of(4) * SECOND * 0.999
    assert set(gaps(again)) == {gap_of(4)}
