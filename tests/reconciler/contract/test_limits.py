"""What a person writes as a limit, and when the next calls of a provider may go out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.contract.limits import (
    GROWTH,
    HIGHEST,
    HORIZON_S,
    LEAD_S,
    MARGIN,
    Provider,
    Window,
    per_s,
    read_windows,
    spacing_s,
    written,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def paced(limit: str, **changes: object) -> Provider:
    """A provider with these limits, of which nothing is used yet."""
    windows = read_windows(limit)
    return replace(
        Provider("acme", windows=windows, spacing_s=spacing_s(windows)),
        **changes,  # type: ignore[arg-type]
    )


def seconds(times: list[datetime]) -> list[float]:
    return [round((at - NOW).total_seconds(), 6) for at in times]


@pytest.mark.parametrize(
    ("given", "windows", "again"),
    [
        ("none", [], "none"),
        (" none ", [], "none"),
        ("5/s", [(5, 1)], "5/s"),
        ("60/min", [(60, 60)], "60/min"),
        ("60/m", [(60, 60)], "60/min"),
        ("7 / h", [(7, 3600)], "7/h"),
        ("10/30s", [(10, 30)], "10/30s"),
        ("10/90s", [(10, 90)], "10/90s"),
        ("3/100ms", [(3, 0.1)], "3/100ms"),
        ("1000/d, 5/s", [(5, 1), (1000, 86_400)], "5/s,1000/d"),
        ("9/2w", [(9, 14 * 86_400)], "9/14d"),
        ("9/31d", [(9, 31 * 86_400)], "9/31d"),
        ("1/s,2/2s,3/3s,4/4s,5/5s", [(n, n) for n in range(1, 6)], "1/s,2/2s,3/3s,4/4s,5/5s"),
    ],
)
def test_limits_are_read_and_written(
    given: str, windows: list[tuple[int, float]], again: str
) -> None:
    found = read_windows(given)
    assert [(window.limit, window.seconds) for window in found] == windows
    assert written(found) == again
    assert read_windows(again) == found


@pytest.mark.parametrize(
    "given",
    [
        *("", "5", "/s", "5/", "five/s", "0/s", "-5/s", "1.5/s", "5/0s", "5/year", "5/s,"),
        *("none,5/s", "5/s 6/min", "5/s;6/min", f"{HIGHEST + 1}/s", "1/32d", "1/5w"),
        *("5/s,6/s", "60/60s,1/min", "1/s,2/2s,3/3s,4/4s,5/5s,6/6s"),
    ],
)
def test_what_is_no_limit_is_refused(given: str) -> None:
    with pytest.raises(BadInput):
        read_windows(given)


def test_a_window_of_an_odd_length_is_written_as_it_was() -> None:
    assert str(Window(0.0015, 2)) == "2/1.5ms"
    assert str(Window(90, 2)) == "2/90s"


@pytest.mark.parametrize(
    ("limit", "spacing", "rate"),
    [
        ("none", None, None),
        ("4/s", 0.25 * (1 + MARGIN), 4),
        ("60/min", 1 + MARGIN, 1),
        ("10/s,60/min", 1 + MARGIN, 1),
        ("1000/d", None, 1000 / 86_400),  # its calls may come soon, and are counted
        ("4/s,1000/d", 0.25 * (1 + MARGIN), 1000 / 86_400),
    ],
)
def test_short_windows_are_spaced(limit: str, spacing: float | None, rate: float | None) -> None:
    windows = read_windows(limit)
    assert spacing_s(windows) == pytest.approx(spacing)
    assert per_s(windows) == pytest.approx(rate)


def test_calls_are_evenly_spaced_after_a_lead_and_within_the_horizon() -> None:
    slots, after = paced("4/s").take(100, NOW)
    gap = 0.25 * (1 + MARGIN)
    assert seconds(slots) == pytest.approx([LEAD_S + i * gap for i in range(len(slots))])
    assert slots[-1] <= NOW + HORIZON_S * SECOND < slots[-1] + gap * SECOND
    assert after.next_at == slots[-1] + gap * SECOND


def test_the_next_calls_follow_the_last() -> None:
    _, after = paced("4/s").take(3, NOW)
    slots, _ = after.take(1, NOW + 0.1 * SECOND)
    assert slots == [after.next_at]


def test_after_a_quiet_time_nothing_is_made_up_for() -> None:
    _, after = paced("4/s").take(3, NOW)
    slots, _ = after.take(100, later := NOW + 3600 * SECOND)
    assert slots[0] == later + LEAD_S * SECOND
    assert len(slots) == 7


def test_no_more_are_taken_where_those_that_wait_reach_the_horizon() -> None:
    provider = paced("4/s", next_at=NOW + (HORIZON_S + 0.01) * SECOND)
    assert provider.take(5, NOW) == ([], provider)


def test_a_burst_goes_out_at_once_and_is_made_up_for_by_a_quiet_time() -> None:
    burst = paced("4/s", burst=5)
    gap = 0.25 * (1 + MARGIN) * SECOND
    slots, after = burst.take(5, NOW)
    assert slots[4] - slots[0] < timedelta(milliseconds=1)
    assert len(set(slots)) == 5, "by which they are counted"
    more, _ = after.take(3, NOW)
    assert more[0] - slots[-1] == pytest.approx(gap, abs=timedelta(milliseconds=1))
    assert more[1] - more[0] == gap


def test_without_limits_all_go_out_now_each_at_its_own_time() -> None:
    slots, _ = Provider("acme", concurrent=50).take(60, NOW)
    assert len(slots) == len(set(slots)) == 50
    assert slots[-1] - NOW < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"concurrent": 3}, 3),
        ({"concurrent": 3, "busy": 1}, 2),
        ({"concurrent": 3, "busy": 9}, 0),
        ({"calls_left": 2}, 2),
        ({"calls_left": 0}, 0),
        ({"calls_left": 4, "concurrent": 3}, 3),
        ({"paused": True}, 0),
    ],
)
def test_no_more_are_taken_than_there_is_room_for(changes: dict[str, object], most: int) -> None:
    provider = paced("5/s", **changes)
    slots, after = provider.take(5, NOW)
    assert len(slots) == most
    if provider.calls_left is not None:
        assert after.calls_left == provider.calls_left - most


def test_a_limit_as_high_as_may_be_written_is_no_division_by_nothing() -> None:
    """Two calls are a microsecond apart at least."""
    slots, _ = paced(f"{HIGHEST}/s").take(50, NOW)
    assert len(set(slots)) == 50


def test_long_windows_are_counted_where_their_room_is_not_known_to_be_enough() -> None:
    assert not paced("5/s").counted_anew(1)
    assert paced("5/s,10/d").counted_anew(1)
    assert paced("5/s,10/d", calls_left=3).counted_anew(4)
    assert not paced("5/s,10/d", calls_left=3).counted_anew(3)


LEARNED = Provider("acme", spacing_s=0.1, learned_rate=10.0, changed_at=NOW)


def test_a_learned_rate_doubles_until_it_was_refused_again() -> None:
    _, after = LEARNED.take(100, NOW + HORIZON_S * SECOND)
    assert after.learned_rate == pytest.approx(20)
    assert after.spacing_s == pytest.approx(1 / 20)
    assert after.changed_at == NOW + HORIZON_S * SECOND


def test_then_it_grows_by_a_hundredth_of_what_was_refused() -> None:
    _, after = replace(LEARNED, ceiling=40.0).take(100, NOW + SECOND)
    assert after.learned_rate == pytest.approx(10 + GROWTH * 40)


def test_a_long_quiet_time_teaches_no_more_than_a_short_one() -> None:
    _, after = LEARNED.take(100, NOW + timedelta(days=1))
    assert after.learned_rate == pytest.approx(20)


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    """What was not tried says nothing."""
    _, after = LEARNED.take(3, NOW + SECOND)
    assert (after.learned_rate, after.changed_at) == (10.0, NOW)


def test_a_learned_rate_ends_at_the_known_limit() -> None:
    provider = paced("12/s", spacing_s=0.1, learned_rate=10.0, ceiling=40.0, changed_at=NOW)
    later, after = NOW, provider
    for _ in range(4):
        later += 2 * SECOND
        _, after = after.take(1000, later)
        assert after.spacing_s
        assert after.spacing_s >= (1 + MARGIN) / 12
    assert (after.learned_rate, after.ceiling) == (None, None)
    assert after.spacing_s == pytest.approx((1 + MARGIN) / 12)


MOMENTS = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 300)), min_size=1, max_size=30)
SHORT = st.builds(Window, st.sampled_from([0.1, 1.0, 7.0, 60.0]), st.integers(1, 100))


@example(windows=[Window(0.1, 1)], burst=2, moments=[(0.0, 1), (0.0, 1)])
@given(windows=st.lists(SHORT, min_size=1, max_size=3), burst=st.integers(1, 10), moments=MOMENTS)
def test_no_window_of_a_strict_sliding_count_holds_more_than_its_limit(
    windows: list[Window], burst: int, moments: list[tuple[float, int]]
) -> None:
    """Whenever how many are taken. A burst that is allowed comes on top."""
    provider = Provider("acme", tuple(windows), burst, spacing_s=spacing_s(windows))
    now, slots = NOW, list[datetime]()
    for wait_s, wanted in moments:
        now += wait_s * SECOND
        more, provider = provider.take(wanted, now)
        assert all(now <= at <= now + HORIZON_S * SECOND for at in more)
        slots += more
    assert slots == sorted(set(slots))
    for window in windows:
        length, most = window.seconds * SECOND, window.limit + burst - 1
        for first, beyond in zip(slots, slots[most:], strict=False):
            assert beyond - first >= length
