"""What an interval gives and costs: the arithmetic, and a simulation that it must agree with."""

from random import Random

import pytest

from reconciler.operator.latency import (
    EVERIES_S,
    LONGEST_EVERY_S,
    P95,
    POLLS_S,
    Costs,
    choose,
    latency_s,
    quantile,
    weigh,
)

COSTS = Costs(tick_s=0.002, start_s=3.0)


def skewed(count: int = 400) -> list[float]:
    """Overheads as a busy system has them: most are short, some are seconds."""
    random = Random(7)
    return sorted(random.lognormvariate(-2, 0.9) for _ in range(count))


@pytest.mark.parametrize(
    ("overheads", "poll_s", "share", "expected_s"),
    [
        ([0.0], 1.0, 0.95, 0.95),
        ([0.2], 1.0, 0.95, 1.15),
        ([0.2], 4.0, 0.5, 2.2),
        ([0.0, 10.0], 1.0, 0.95, 10.9),
        ([0.0, 10.0], 20.0, 0.5, 15.0),  # half of the sums: (15 / 20 + 5 / 20) / 2
    ],
)
def test_a_latency_is_a_uniform_wait_and_an_overhead(
    overheads: list[float], poll_s: float, share: float, expected_s: float
) -> None:
    assert latency_s(overheads, poll_s, share) == pytest.approx(expected_s)


@pytest.mark.parametrize("target_s", [1.0, 2.0, 5.0, 30.0])
def test_the_chosen_interval_meets_the_target_when_it_is_simulated(target_s: float) -> None:
    """Rows become ready at any moment, and ticks come at their interval."""
    random, overheads = Random(11), skewed()
    chosen = choose(weigh(overheads, COSTS), target_s)
    assert chosen is not None
    took = []
    for _ in range(20_000):
        ready = random.uniform(0, 3600)
        tick = (ready // chosen.poll_s + 1) * chosen.poll_s
        took.append(tick + random.choice(overheads) - ready)
    assert quantile(sorted(took), P95) == pytest.approx(chosen.p95_s, rel=0.1)
    assert chosen.p95_s <= target_s


def test_what_comes_later_costs_less() -> None:
    for ladder in (POLLS_S, EVERIES_S):
        assert list(ladder) == sorted(ladder)
    found = [c for c in weigh(skewed(), COSTS) if c.every_s == 120]
    assert [c.poll_s for c in found] == list(POLLS_S)
    assert [c.p95_s for c in found] == sorted(c.p95_s for c in found)
    costs = [c.cpu_s_per_day for c in found]
    assert costs == sorted(costs, reverse=True)


def test_a_day_s_cpu_is_its_ticks_and_its_starts() -> None:
    assert COSTS.per_day(1.0, 120.0) == pytest.approx(86_400 * 0.002 + 720 * 3.0)
    assert COSTS.per_day(0.5, 600.0) == pytest.approx(172_800 * 0.002 + 144 * 3.0)


def test_the_cheapest_that_meets_the_target_is_chosen() -> None:
    candidates = weigh([0.1], COSTS)
    chosen = choose(candidates, 2.0)
    assert chosen is not None
    assert (chosen.poll_s, chosen.every_s) == (1.5, LONGEST_EVERY_S)  # 2.0 would give 2.0 and 0.0
    slower = [c for c in candidates if c.cpu_s_per_day < chosen.cpu_s_per_day]
    assert all(c.p95_s > 2.0 for c in slower)
    assert choose(candidates, 0.1) is None


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(i) for i in range(100)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.95)] == [0, 50, 95]
