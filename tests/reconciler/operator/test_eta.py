"""The ETA against what then happened, and the rate, over simulated batches."""

import pytest

from reconciler.operator.eta import Entry, Pace, StepNow, eta, read_pace
from tests.reconciler.operator.replay import Replay

WITHIN = 0.25
BATCHES = {
    "one pace": Replay(1000, [1, 1, 1], [10] * 3),
    "after a long wait": Replay(1000, [1, 1, 1], [10] * 3, begin_s=3000),
    "steps of different speed": Replay(1000, [1, 2, 4], [20] * 3),
    "a slow first step": Replay(1000, [4, 2, 1], [20] * 3),
    "a slow step in the middle": Replay(600, [1, 10, 1], [20] * 3),
    "a slow last step": Replay(600, [0.2, 0.2, 10], [20] * 3),
    "different capacities": Replay(3000, [0.1, 0.1, 0.1], [100, 20, 50]),
    "a pause in the middle": Replay(1000, [1, 2, 1], [10] * 3, paused=(60, 180)),
    "long calls": Replay(1000, [60] * 3, [100] * 3),
    "a third fails": Replay(1000, [1, 1, 1], [10] * 3, failing=0.33),
    "a long poll": Replay(2000, [3, 3, 3], [100] * 3, poll_s=10),
    "nine steps": Replay(500, [0.5, 1, 0.2, 0.3, 2, 0.1, 0.1, 1, 0.5], [10] * 9),
    "a host": Replay(2000, [0.05] * 3, [500] * 3, processes=2, chunk=5),
    "a host, one step costs more": Replay(1500, [0.01, 0.01, 0.1], [300] * 3, processes=2, chunk=5),
    "a host, the first costs more": Replay(
        1500, [0.1, 0.01, 0.01], [300] * 3, processes=2, chunk=5
    ),
    "a host, paused": Replay(2000, [0.05] * 3, [200] * 3, processes=2, chunk=5, paused=(60, 180)),
    "a host, nine steps": Replay(
        1000, [0.05, 0.1, 0.02, 0.03, 0.02, 0.01, 0.01, 0.1, 0.05], [100] * 9, processes=4, chunk=5
    ),
    "ten seconds": Replay(60, [0.026] * 3, [100] * 3, processes=1, chunk=10, begin_s=5),
    "ten seconds, small calls": Replay(60, [0.06] * 3, [100] * 3, processes=2, chunk=5, begin_s=5),
    "twenty seconds": Replay(200, [0.06] * 3, [100] * 3, processes=2, chunk=10, begin_s=3),
    "twenty seconds, calls side by side": Replay(100, [2, 1, 3], [20] * 3),
}


def slack_s(replay: Replay) -> float:
    """What no estimate can be better than: the wait for a tick, and the call under way."""
    return replay.poll_s + max(replay.services) * replay.chunk


@pytest.mark.parametrize("replay", BATCHES.values(), ids=BATCHES.keys())
def test_from_the_half_on_the_eta_is_within_a_quarter_of_what_then_happens(replay: Replay) -> None:
    every = max(1, len(replay.seen) // 40)
    looks = list(replay.looks(every=every))
    assert looks
    again = replay.paused[1] + 10 * replay.poll_s  # what a pace needs to be known again
    for look in looks:
        if replay.end_s - look.left_s < again and replay.paused[1]:
            continue
        pace = read_pace(look.log, look.steps)
        left_s = eta(pace, look.steps, replay.poll_s)
        assert left_s is not None
        assert left_s == pytest.approx(look.left_s, rel=WITHIN, abs=slack_s(replay)), look.past


def test_the_rate_is_lately_s_however_long_the_batch_waited() -> None:
    for begin_s in (0, 3000):
        replay = Replay(1000, [1, 1], [10, 10], begin_s=begin_s)
        *_, look = (look for look in replay.looks(since=0.4) if look.past < 0.5)
        overall = 2000 / (replay.end_s - begin_s)
        assert read_pace(look.log, look.steps).per_s == pytest.approx(overall, rel=0.1)


def test_a_rate_is_known_with_the_time_that_it_was_measured_over() -> None:
    log = [Entry(100, 0, 900, 0), *(Entry(n, 0, 0, 3) for n in range(1, 61))]
    pace = read_pace(log, [StepNow(outstanding=720, done=180, failed=0)])
    assert pace.over_s == pytest.approx(60 / 4, abs=1)
    assert pace.per_s * pace.over_s == pytest.approx(3 * pace.over_s, rel=0.1)


def test_where_all_that_ended_so_far_has_failed_nobody_knows() -> None:
    assert eta(Pace(), [StepNow(outstanding=99, done=0, failed=1)], 1.0) is None


def test_a_batch_that_has_come_to_a_halt_has_no_rate_and_no_eta() -> None:
    log = [Entry(400, 0, 100, 0), *(Entry(300 - n, 0, 0, 5) for n in range(10))]
    steps = [StepNow(outstanding=50, done=50, failed=0)]
    pace = read_pace(log, steps)
    assert (pace.per_s, eta(pace, steps, 1)) == (0, None)


def test_before_anything_is_completed_nothing_is_known() -> None:
    steps = [StepNow(outstanding=100, done=0, failed=0)]
    assert eta(read_pace([Entry(5, 0, 100, 0)], steps), steps, 1) is None
    assert eta(read_pace([], steps), steps, 1) is None


def test_what_waits_for_another_attempt_is_waited_for() -> None:
    log = [Entry(40, 0, 100, 0), *(Entry(n, 0, 0, 3) for n in range(1, 31))]
    steps = [StepNow(outstanding=10, done=90, failed=0, retry_s=300)]
    assert eta(read_pace(log, steps), steps, 1) == 300


def test_the_last_ticks_are_waited_for() -> None:
    log = [Entry(40, 0, 100, 0), *(Entry(n, 0, 0, 3) for n in range(1, 31))]
    steps = [StepNow(0, 100, 0, landed=10), StepNow(0, 0, 0), StepNow(0, 0, 0)]
    assert (eta(read_pace(log, steps), steps, 10) or 0) >= 20
