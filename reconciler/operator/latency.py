"""What an interval gives and what it costs: arithmetic on what was measured, nothing else.

A row that could be claimed waits for the next tick, and then for its begin: the tick itself, the
dispatch, the start of the call. Of these, the interval decides the wait alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

DAY_S = 86_400
P95 = 0.95
POLLS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
# A run is followed by the next without a gap, so that a longer schedule only saves starts; but a
# loop that has died is replaced by the next run alone, and ten minutes are long enough for that.
LONGEST_EVERY_S = 600.0
EVERIES_S = (30.0, 60.0, 120.0, 300.0, LONGEST_EVERY_S)
HALVINGS = 50  # of an interval of seconds: to less than a picosecond


@dataclass(frozen=True)
class Costs:
    """CPU seconds of one tick that finds nothing to do, and of the start of one flow run."""

    tick_s: float
    start_s: float

    def per_day(self, poll_s: float, every_s: float) -> float:
        """CPU seconds of a day without work: a tick that has work does what must be done anyway."""
        return DAY_S / poll_s * self.tick_s + DAY_S / every_s * self.start_s


@dataclass(frozen=True)
class Candidate:
    """A poll interval and a schedule, with the p95 of a pick-up and the CPU seconds of a day."""

    poll_s: float
    every_s: float
    p95_s: float
    cpu_s_per_day: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` (below 1) of a growing sequence does not exceed."""
    return ordered[int(share * len(ordered))]


def latency_s(overheads: Sequence[float], poll_s: float, share: float) -> float:
    """The time within which `share` of the pick-ups happen, with `poll_s` between ticks.

    A pick-up is a wait for the next tick, uniform in (0, `poll_s`), and an overhead that does not
    depend on it, of which `overheads` are a sample or evenly spaced quantiles. So the share within
    t is the mean, over the overheads, of the part of the waits that leaves the sum at or below t;
    it grows with t, and bisection finds the t.

    The wait is not uniform where steps end soon after the tick that started them: it is nearly
    `poll_s` then, and p95 was 2.4 s instead of 2.1 s in batches of no more than 60 companies.
    """
    low, high = min(overheads), max(overheads) + poll_s
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        waits = sum(min(1.0, max(0.0, (middle - overhead) / poll_s)) for overhead in overheads)
        if waits < share * len(overheads):
            low = middle
        else:
            high = middle
    return high


def weigh(
    overheads: Sequence[float], costs: Costs, everies_s: Sequence[float] = EVERIES_S
) -> list[Candidate]:
    """Every pair of a poll interval and a schedule. The idle interval is the poll interval.

    It has to be, since a batch that is seeded into an idle system is a pick-up as any other. The
    schedule does not enter the latency: a run takes over while the one before it still ticks.
    """
    p95_s = {poll_s: latency_s(overheads, poll_s, P95) for poll_s in POLLS_S}
    return [
        Candidate(poll_s, every_s, p95_s[poll_s], costs.per_day(poll_s, every_s))
        for poll_s, every_s in product(POLLS_S, everies_s)
    ]


def choose(candidates: Sequence[Candidate], target_s: float) -> Candidate | None:
    """The one that meets the target for the fewest CPU seconds; None where none meets it."""
    meeting = [candidate for candidate in candidates if candidate.p95_s <= target_s]
    return min(meeting, key=lambda candidate: candidate.cpu_s_per_day, default=None)
