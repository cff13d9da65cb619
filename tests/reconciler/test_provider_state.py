"""What is said of a provider's next calls is what the next claim does."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from reconciler.contract.limits import LEAD_S, MARGIN
from reconciler.provider_state import ProviderState, rate_text, read_held_back, read_states
from tests.limits import stands
from tests.paying import paying, with_paid_steps
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

SLACK = timedelta(milliseconds=1)


@pytest.fixture(autouse=True)
def provider() -> Iterator[None]:
    with paying():
        yield


def state(world: World) -> ProviderState:
    (found,) = read_states(world.operator, ["acme"])
    return found


@pytest.mark.parametrize(
    ("settings", "next_at"),
    [
        (("limit=1/s",), "NULL"),
        (("limit=5/s",), "NULL"),
        (("limit=5/s",), "now() + interval '1 s'"),
        (("limit=5/s",), "now() + interval '1.8 s'"),
        (("limit=5/s",), "now() - interval '1 h'"),
        (("limit=5/s", "burst=4"), "NULL"),
        (("limit=5/s", "burst=4"), "now() - interval '0.3 s'"),
        (("limit=10/min",), "NULL"),
    ],
)
def test_the_next_claim_gives_so_many_calls_those_times(
    tracer: Terminal, world: World, settings: tuple[str, ...], next_at: str
) -> None:
    world.seed(40, ["staff"])
    tracer("providers", "set", "acme", *settings)
    stands(world, next_at=next_at)
    before = state(world)
    world.tick(before.now)
    sent = [
        row["send_at"]
        for row in world.sql("SELECT send_at FROM orders WHERE for_attempt = 1 ORDER BY send_at")
    ]
    assert len(sent) == before.next_calls
    for number, at in enumerate(sent):
        soonest = before.goes_out_at(number)
        assert soonest - SLACK <= at <= soonest + timedelta(seconds=LEAD_S) + SLACK


def test_without_a_rate_no_number_is_known(world: World) -> None:
    assert state(world).next_calls is None


def test_rows_are_held_back_by_the_provider_of_their_step(tracer: Terminal, world: World) -> None:
    world.sql("UPDATE enrichment_registry SET bulk = 10 WHERE step_name = 'crowd'")
    tracer("providers", "set", "acme", "limit=1/s")
    rows = [("staff", 2), ("crowd", 15), ("staff", 3), ("normalize", 99)]
    (found,) = read_held_back(world.operator, rows)
    assert (found.rows, found.calls) == (20, 7)
    assert found.until
    assert (found.until - found.provider.now).total_seconds() == pytest.approx(6 * (1 + MARGIN))
    assert read_held_back(world.operator, [("staff", 1)]) == []
    assert read_held_back(world.operator, [("normalize", 99)]) == []
    assert read_held_back(world.operator, []) == []


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (1234.0, "1234/s"),
        (47.0, "47/s"),
        (3.456, "3.46/s"),
        (0.5, "30/min"),
        (1 / 60, "1/min"),
        (1 / 1800, "2/h"),
        (0.5 / 86_400, "0.5/d"),
    ],
)
def test_a_rate_is_written_per_second_or_in_a_longer_time(per_s: float, text: str) -> None:
    assert rate_text(per_s) == text
