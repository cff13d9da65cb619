"""How long a plan's calls take at a provider's limits."""

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.contract.limits import MARGIN, read_windows, spacing_s
from reconciler.operator.money.plan_time import ProviderTime, Used
from reconciler.provider_state import ProviderState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = 86_400.0
GAP = 0.2 * (1 + MARGIN)  # of 5/s


def provider(limit: str = "none", **values: Any) -> ProviderState:
    windows = read_windows(limit)
    return ProviderState(
        **{
            "name": "acme",
            "windows": windows,
            "burst": 1,
            "max_concurrent": None,
            "spacing_s": spacing_s(windows),
            "next_at": None,
            "full_until": None,
            "paused_until": None,
            "until_resumed": False,
            "pause_kind": None,
            "paused_why": None,
            "failures": 0,
            "learned_rate": None,
            "ceiling": None,
            "refusals": 0,
            "refused_at": None,
            "under_way": 0,
            "now": NOW,
            **values,
        }
    )


@pytest.mark.parametrize(
    ("limit", "calls", "seconds"),
    [
        ("none", 0, 0),
        ("none", 10, None),
        ("5/s", 0, 0),
        ("5/s", 1, 0),
        ("5/s", 101, 100 * GAP),
        ("60/min", 61, 60 * (1 + MARGIN)),
        ("1000/d", 1000, 0),
        ("1000/d", 1001, DAY),
        ("1000/d", 2500, 2 * DAY),
        ("5/s,1000/d", 2501, 2 * DAY + 500 * GAP),
        ("5/s,1000/d", 1000, 999 * GAP),
        ("100/h,1000/d", 2000, 1 * DAY),
        ("100/h,1000/d", 1000, 9 * 3600),
    ],
)
def test_short_windows_take_their_spacing_and_long_ones_are_counted(
    limit: str, calls: int, seconds: float | None
) -> None:
    assert ProviderTime(provider(limit), calls, {}).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("used", "calls", "seconds"),
    [
        (Used(400, 3600), 600, 0),
        (Used(400, 3600), 601, DAY - 3600),
        (Used(1000, 3600), 1, DAY - 3600),
        (Used(1000, 3600), 1001, 2 * DAY - 3600),
    ],
)
def test_what_of_a_window_is_used_counts(used: Used, calls: int, seconds: float) -> None:
    (window,) = read_windows("1000/d")
    time = ProviderTime(provider("1000/d"), calls, {window: used})
    assert time.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("limit", "learned", "burst", "seconds"),
    [("none", 2.0, 1, 50), ("10/s", 2.0, 1, 50), ("none", 2.0, 11, 45)],
)
def test_a_learned_rate_is_the_one_that_holds(
    limit: str, learned: float, burst: int, seconds: float
) -> None:
    state = provider(limit, learned_rate=learned, spacing_s=1 / learned, burst=burst)
    time = ProviderTime(state, 101, {})
    assert time.seconds == pytest.approx(seconds)
    assert (time.per_s, time.document()["rate_from"]) == (learned, "learned")
