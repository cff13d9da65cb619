"""How fast a batch goes, and when it will be done: from its log of progress. Nothing reads a clock.

The log is walked backward in spans, from one tick that found something COMPLETED to the next. A
span that is far longer than the others is a pause, and counts for no more than a usual one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, permutations
from operator import attrgetter
from statistics import median

from reconciler.contract.database import Row

LATELY_S = 10.0  # of work, and a quarter of all that the log has, and so many spans: "lately"
LATELY_SPANS = 10
PAUSE_S = 10.0  # a span is no pause that is shorter, or than so many usual ones
PAUSE_SPANS = 10
SILENCE_S = 30.0  # without anything COMPLETED, and it does not go on
FEW = 5  # rows are no pace
ROUNDS = 50  # of the fit of costs, which has come to rest by then
EQUALLY = 1.0  # span's worth of belief that every step costs the same
MOST_STEPS = 20  # whose costs are told apart


@dataclass(frozen=True)
class Entry:
    """What the log has of one step at one moment, `ago` seconds before now."""

    ago: float
    position: int
    arrived: int
    completed: int


@dataclass(frozen=True)
class StepNow:
    """A step's rows at present.

    `waiting` are those that wait for a process of the local worker host, which all steps share.
    `outstanding` are PENDING or in flight, `landed` COMPLETED and not in the log yet, and the last
    retry is due in `retry_s` seconds.
    """

    outstanding: int
    completed: int
    failed: int
    landed: int = 0
    waiting: int = 0
    retry_s: float = 0.0


def step_now(counted: Row, retries: Mapping[str, float]) -> StepNow:
    """A step for the pace; `retries` has the seconds until the last retry of a step is due."""
    return StepNow(
        outstanding=max(0, counted["arrived"] - counted["completed"] - counted["failed"]),
        completed=counted["completed"],
        failed=counted["failed"],
        landed=counted["landed"],
        waiting=counted["waiting"],
        retry_s=retries.get(counted["step"], 0.0),
    )


@dataclass(frozen=True)
class Span:
    """The time between two ticks, what was COMPLETED in it, and which steps had rows to work."""

    seconds: float
    completed: Counter[int]
    busy: frozenset[int]


@dataclass(frozen=True)
class Pace:
    """Company-steps COMPLETED a second lately, of all steps and of each (where there was one).

    `costs` are the seconds of a shared worker pool that a company takes at each step.
    """

    per_s: float = 0.0
    steps: Mapping[int, float] = field(default_factory=dict)
    costs: Mapping[int, float] = field(default_factory=dict)


def read_pace(log: Sequence[Entry], steps: Sequence[StepNow]) -> Pace:
    """The pace of a batch whose rows are now as `steps` says; none where it has come to a halt."""
    newest, *older = list(_walk(log, steps)) or [Span(0.0, Counter(), frozenset())]
    between = [span.seconds for span in older[:-1]]  # what was before the first may be any wait
    usual_s = median(between) if between else SILENCE_S
    pause_s = max(PAUSE_S, PAUSE_SPANS * usual_s)
    if newest.seconds > max(SILENCE_S, pause_s):
        return Pace()
    spans = [
        span if span.seconds <= pause_s else replace(span, seconds=usual_s)
        for span in (newest, *older)
    ]
    rates = _rates(spans, len(list(_lately(spans))))
    if _total(spans[:-1]).total() >= FEW:
        spans.pop()  # in which the workers started, or which was not seen whole
    recent = list(_lately(spans))
    return Pace(
        per_s=_total(recent).total() / max(sum(span.seconds for span in recent), 0.001),
        steps=rates,
        costs=_costs(spans, recent),
    )


def eta(pace: Pace, steps: Sequence[StepNow], poll_s: float) -> float | None:
    """Seconds until all rows have ended; None where the pace does not tell.

    Steps work side by side, so that it is the slowest pipeline's time: what is still to come at a
    step, through it at its own pace. Where calls wait for the local workers, all steps share these,
    and it is the time of all work together.
    """
    known = pace.steps.values()
    longest = together = coming = 0.0
    rate = min(known, default=0.0)
    for position, step in enumerate(steps):
        if step.outstanding and step.failed and not step.completed:
            return None  # what comes of those that are left nobody knows
        ended = step.completed + step.failed
        to_come = (coming + step.outstanding) * (step.completed / ended if ended else 1.0)
        coming = to_come + step.landed
        if coming:
            longest = max(longest, poll_s * (len(steps) - position))
        if to_come < 0.5:
            continue
        if not known:
            return None
        rate = pace.steps.get(position) or rate
        longest = max(longest, to_come / rate + poll_s * (len(steps) - position - 0.5))
        together += to_come * pace.costs.get(position, 1 / pace.per_s)
    together += poll_s / 2
    # Right after a tick calls wait that will not for long: as many as a tick's worth are no sign.
    waiting = sum(step.waiting for step in steps)
    shared = min(1.0, waiting / max(pace.per_s * poll_s, 1.0)) if known else 0.0
    last_retry = max((step.retry_s for step in steps), default=0.0)
    return max(shared * together + (1 - shared) * longest, last_retry)


def _walk(log: Sequence[Entry], steps: Sequence[StepNow]) -> Iterator[Span]:
    """The spans, newest first: the first one is still open, the last one begins with the log."""
    outstanding = Counter({i: step.outstanding for i, step in enumerate(steps)})
    completed = Counter({i: step.landed for i, step in enumerate(steps) if step.landed})
    outstanding += completed
    end, oldest = 0.0, max((entry.ago for entry in log), default=0.0)
    for ago, entries in groupby(sorted(log, key=attrgetter("ago")), attrgetter("ago")):
        at = list(entries)
        if ago == oldest or any(entry.completed for entry in at):
            busy = frozenset(i for i, rows in outstanding.items() if rows > 0)
            yield Span(ago - end, completed, busy | completed.keys())
            completed, end = Counter(), ago
        for entry in at:
            outstanding[entry.position] += entry.completed - entry.arrived
            completed[entry.position] += entry.completed
        completed = +completed


def _lately(spans: Sequence[Span]) -> Iterator[Span]:
    """The newest spans, as many as make "lately"."""
    wanted_s = max(LATELY_S, sum(span.seconds for span in spans) / 4)
    seconds = 0.0
    for number, span in enumerate(spans):
        if number >= LATELY_SPANS and seconds >= wanted_s:
            return
        yield span
        seconds += span.seconds


def _rates(spans: Sequence[Span], lately: int) -> dict[int, float]:
    """Each step's pace in the newest spans, while it had rows.

    What came before the first of its rows was COMPLETED is the time that one takes, and no pace.
    """
    first = {i: number for number, span in enumerate(spans) for i in span.completed}
    rates = {}
    for i, number in first.items():
        counted = [span for span in spans[: min(number, lately)] if i in span.busy]
        rows, seconds = _total(counted)[i], sum(span.seconds for span in counted)
        if rows >= FEW:
            rates[i] = rows / max(seconds, 0.001)
    return rates


def _total(spans: Sequence[Span]) -> Counter[int]:
    found: Counter[int] = Counter()
    for span in spans:
        found.update(span.completed)
    return found


def _costs(spans: Sequence[Span], recent: Sequence[Span]) -> dict[int, float]:
    """What a company takes of the pool at each step, scaled to what was seen lately.

    In each span, what was COMPLETED took its seconds: the costs are fitted to that.
    """
    done, seconds = _total(spans), sum(span.seconds for span in spans)
    equal = dict.fromkeys(done, seconds / max(done.total(), 1))
    costs = _fit(spans, equal) if 1 < len(done) <= MOST_STEPS else equal
    explained = sum(costs[i] * rows for i, rows in _total(recent).items())
    scale = sum(span.seconds for span in recent) / explained if explained else 1.0
    return {i: cost * scale for i, cost in costs.items()}


def _fit(spans: Sequence[Span], equal: Mapping[int, float]) -> dict[int, float]:
    """Costs by least squares, none below 0, with a little belief that they are equal."""
    own = {i: sum(span.completed[i] ** 2 for span in spans) for i in equal}
    taken = {i: sum(span.completed[i] * span.seconds for span in spans) for i in equal}
    both = {
        (i, j): sum(span.completed[i] * span.completed[j] for span in spans)
        for i, j in permutations(equal, 2)
    }
    costs = dict(equal)
    for _ in range(ROUNDS):
        for i in costs:
            belief = EQUALLY * own[i] / len(spans)
            others = sum(both[i, j] * costs[j] for j in costs if j != i)
            costs[i] = max(0.0, (taken[i] - others + belief * equal[i]) / (own[i] + belief))
    return costs
