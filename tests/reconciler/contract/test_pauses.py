"""What workers find out about a provider: it waits, and slows, once for many calls."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest

from reconciler.contract.limits import FIRST_RATE, HORIZON_S, LEAD_S, MARGIN, Pause, PauseKind
from tests.limiting import limit, provider_row
from tests.paying import asked, paying, receipt, with_paid_steps
from tests.standins.provider import Provider
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

FOR_EVER = "infinity"


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def pause(world: World, kind: PauseKind, wait_s: float = 0, why: str = "it said so") -> None:
    world.worker.pause_provider("acme", Pause(kind, why, wait_s))


def waits_s(world: World) -> float:
    """For how many seconds the provider is paused; infinity if somebody must resume it."""
    return float(provider_row(world)["waits_s"])


def known(world: World, *names: str) -> list[Any]:
    """Some columns of the provider."""
    (row,) = world.sql(f"SELECT {', '.join(names)} FROM providers WHERE name = 'acme'")
    return list(row.values())


def later(world: World, by_s: float = HORIZON_S + 1) -> None:
    """The last refusal is so long ago that calls go out at the slower rate by now."""
    world.sql(f"UPDATE providers SET refused_at = refused_at - interval '{by_s} s'")


def test_a_provider_that_asks_to_wait_is_paused_for_so_long(world: World) -> None:
    pause(world, PauseKind.ASKED, 30, "it answered 429")
    assert 29 < waits_s(world) <= 30
    assert known(world, "pause_kind", "paused_why", "failures") == ["asked", "it answered 429", 0]
    assert known(world, "next_at = paused_until") == [True]


def test_calls_that_have_later_times_keep_them(world: World) -> None:
    limit(world, next_at=datetime(2999, 1, 1, tzinfo=UTC))
    pause(world, PauseKind.ASKED, 30)
    assert provider_row(world)["next_at"] == datetime(2999, 1, 1, tzinfo=UTC)


def test_a_pause_that_ends_later_stays(world: World) -> None:
    pause(world, PauseKind.ASKED, 300, "the first")
    pause(world, PauseKind.ASKED, 3, "the second")
    assert waits_s(world) > 290
    assert known(world, "paused_why") == ["the first"]
    pause(world, PauseKind.ASKED, 3000, "the third")
    assert waits_s(world) > 2900
    assert known(world, "paused_why") == ["the third"]


@pytest.mark.parametrize("kind", [PauseKind.ASKED, PauseKind.FAILING, PauseKind.REFUSED])
def test_a_persons_pause_stays(world: World, kind: PauseKind) -> None:
    world.sql("UPDATE providers SET paused_until = 'infinity', pause_kind = 'operator'")
    pause(world, kind, 5)
    assert waits_s(world) == float("inf")
    assert known(world, "pause_kind", "paused_why") == ["operator", None]


def test_no_credits_pause_it_until_somebody_resumes_it(world: World) -> None:
    limit(world, "4/s")
    pause(world, PauseKind.REFUSED, why="it answered 402")
    assert waits_s(world) == float("inf")
    assert known(world, "pause_kind", "next_at", "refusals") == ["refused", None, 0]


def test_each_fault_after_a_pause_pauses_for_twice_as_long(world: World) -> None:
    found = []
    for _ in range(7):
        pause(world, PauseKind.FAILING)
        found.append(round(waits_s(world)))
        world.sql("UPDATE providers SET paused_until = now() - interval '1 s'")
    assert found == [15, 30, 60, 120, 240, 480, 600]
    assert known(world, "failures", "refusals", "learned_rate") == [7, 0, None]


def test_calls_that_fail_together_are_one_failure(world: World) -> None:
    for _ in range(5):
        pause(world, PauseKind.FAILING)
    assert known(world, "failures") == [1]
    assert waits_s(world) <= 15


def test_two_workers_that_see_a_failure_at_once_are_one_failure(world: World) -> None:
    """The second waits for the first, and sees that the provider is paused."""
    second = Thread(target=pause, args=(world, PauseKind.FAILING))
    with world.operator.transaction() as first:
        first.execute(
            "UPDATE providers SET failures = 1, pause_kind = 'failing',"
            " paused_until = clock_timestamp() + interval '15 s'"
        )
        second.start()
        world.wait_for_blocked()
    second.join()
    assert known(world, "failures") == [1]


def test_what_a_pause_says_hides_secrets_and_fits(world: World) -> None:
    pause(world, PauseKind.ASKED, 1, "no\x00body at https://a?api_key=hunter22")
    assert "hunter22" not in known(world, "paused_why")[0]


# A refusal slows it.


def test_many_calls_that_are_refused_together_slow_it_once(world: World) -> None:
    limit(world, "10/s")
    for _ in range(5):
        pause(world, PauseKind.ASKED, 0.5)
    top = 10 / (1 + MARGIN)
    assert known(world, "learned_rate", "ceiling", "refusals") == [
        pytest.approx(0.97 * top),
        pytest.approx(top),
        1,
    ]
    assert known(world, "1 / spacing_s") == [pytest.approx(0.97 * top)]
    later(world, 8)
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling", "refusals") == [
        pytest.approx(0.9 * 0.97 * top),
        pytest.approx(0.97 * top),
        2,
    ]


def test_a_refusal_soon_after_another_slows_it_more(world: World) -> None:
    world.sql("UPDATE providers SET learned_rate = 40, ceiling = 50, spacing_s = 1 / 40.0")
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling") == [pytest.approx(36), pytest.approx(40)]
    later(world)
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling") == [pytest.approx(28.8), pytest.approx(36)]


def test_two_workers_that_are_refused_at_once_slow_it_once(world: World) -> None:
    limit(world, "10/s")
    second = Thread(target=pause, args=(world, PauseKind.ASKED, 0.5))
    with world.operator.transaction() as first:
        first.execute(
            "UPDATE providers SET refused_at = clock_timestamp(), learned_rate = 9,"
            " spacing_s = 1.0 / 9, ceiling = 10, refusals = 1"
        )
        second.start()
        world.wait_for_blocked()
    second.join()
    assert known(world, "learned_rate", "refusals") == [9, 1]


def test_of_a_provider_without_a_known_limit_the_rate_is_learned(world: World) -> None:
    """First what it has just taken; then half of what was refused, from which it grows."""
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling") == [FIRST_RATE, None]
    later(world)
    world.sql("UPDATE providers SET learned_rate = 40, spacing_s = 1 / 40.0")
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling") == [20, 40]
    later(world, 8)
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate", "ceiling") == [18, 20]


@pytest.mark.parametrize(
    ("ago", "name", "rate"),
    [(0.5, "acme", 10), (3, "acme", FIRST_RATE), (0.5, "b", FIRST_RATE)],
)
def test_the_first_rate_is_what_was_just_answered(
    world: World, ago: float, name: str, rate: float
) -> None:
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1)])
    world.sql(
        "INSERT INTO orders (company_id, step_name, batch_id, provider, price, made_at, sent_at,"
        " answered_at, charged, superseded_at, tries, known)"
        " SELECT company_id, step_name, batch_id, provider, price, made_at, sent_at, answered_at,"
        " charged, now(), 1, 1 FROM orders, generate_series(1, 19)"
    )
    world.sql(
        "UPDATE orders SET provider = %(name)s, answered_at = now() - %(ago)s",
        name=name,
        ago=timedelta(seconds=ago),
    )
    pause(world, PauseKind.ASKED, 0.5)
    assert known(world, "learned_rate") == [rate]


@pytest.mark.parametrize("kind", [PauseKind.REFUSED, PauseKind.FAILING])
def test_other_pauses_slow_nothing(world: World, kind: PauseKind) -> None:
    limit(world, "10/s")
    pause(world, kind)
    assert known(world, "learned_rate", "refused_at", "changed_at") == [None, None, None]


def test_another_provider_is_left_alone(world: World) -> None:
    world.sql("INSERT INTO providers (name, failures) VALUES ('other', 1)")
    pause(world, PauseKind.ASKED, 60)
    world.worker.note_recovered("acme")
    (other,) = world.sql("SELECT paused_until, failures FROM providers WHERE name = 'other'")
    assert (other["paused_until"], other["failures"]) == (None, 1)


# Well again, and late.


@pytest.mark.parametrize(
    ("failures", "until", "well"),
    [
        (2, "now() - interval '1 s'", True),
        (2, "'infinity'", False),
        (2, "now() + interval '1 minute'", False),
        (0, "now() - interval '1 s'", False),
    ],
)
def test_one_call_that_goes_well_shows_that_a_provider_is_well(
    world: World, failures: int, until: str, well: bool
) -> None:
    """But it says nothing of a pause that has come since."""
    world.sql(
        "UPDATE providers SET pause_kind = 'failing',"
        f" failures = {failures}, paused_until = {until}"
    )
    world.worker.note_recovered("acme")
    assert known(world, "pause_kind") == [None if well else "failing"]
    assert known(world, "failures") == [0 if well else failures]


def test_calls_that_were_late_get_times_after_all_that_are_given(world: World) -> None:
    limit(world, "4/s")
    gap = (1 + MARGIN) / 4
    first = world.worker.new_times("acme", 3)
    assert first == [pytest.approx(LEAD_S + i * gap, abs=0.05) for i in range(3)]
    again = world.worker.new_times("acme", 2)
    assert again == [pytest.approx(LEAD_S + i * gap, abs=0.05) for i in (3, 4)]


def test_what_is_late_waits_no_longer_than_what_is_claimed(world: World) -> None:
    """The rest goes back: it would else wait in a worker, and nothing be claimed beside it."""
    limit(world, "4/s")
    fitting = 1 + int((HORIZON_S - LEAD_S) * 4 / (1 + MARGIN))
    assert len(world.worker.new_times("acme", 100)) == fitting
    assert world.worker.new_times("acme", 1) == []
    world.sql("UPDATE providers SET next_at = now() + interval '1 minute'")
    assert world.worker.new_times("acme", 1) == []
    assert known(world, "next_at > now() + interval '59 s'") == [True]


def test_two_workers_that_are_late_at_once_get_different_times(world: World) -> None:
    limit(world, "4/s")
    with ThreadPoolExecutor(1) as threads:
        with world.operator.transaction() as first:
            first.execute("UPDATE providers SET next_at = clock_timestamp() + interval '1 s'")
            second = threads.submit(world.worker.new_times, "acme", 1)
            world.wait_for_blocked()
        assert second.result(10)[0] > 0.5


def test_without_a_limit_what_is_late_goes_at_once(world: World) -> None:
    assert world.worker.new_times("acme", 3) == [0.0, 0.0, 0.0]
    assert known(world, "next_at") == [None]
