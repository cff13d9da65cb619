"""Computes a batch's rate and ETA from its log of progress. Nothing here reads a clock.

Rows are done when they have ended and go on: COMPLETED, NOT_FOUND or SKIPPED. The log is read
backward in spans. A span is the time between two ticks that found rows done. A span that is far
longer than the others is a pause, and counts as one of usual length.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, permutations
from operator import attrgetter
from statistics import median

from reconciler.contract.database import Row

# "Recent" spans have at least this much time, and a quarter of the log, and this many spans.
RECENT_S = 10.0
RECENT_SPANS = 10
# A pause is longer than this time, and than this many spans of usual length.
PAUSE_S = 10.0
PAUSE_SPANS = 10
SILENCE_S = 30.0  # after this long without a row done, the batch has no rate
FEWEST_ROWS = 5  # with fewer rows done there is no rate
ROUNDS = 50  # of the fit of costs; the costs no longer change by then
EQUAL_WEIGHT = 1.0  # weight of the assumption that all steps cost the same, in spans
MOST_STEPS = 20  # with more steps, all have the same cost


@dataclass(frozen=True)
class Entry:
    """The log's counts of one step at one moment, `ago` seconds before now."""

    ago: float
    position: int
    arrived: int
    done: int


@dataclass(frozen=True)
class StepNow:
    """A step's number of rows now.

    - `outstanding`: PENDING or in flight.
    - `found`: COMPLETED, of those done.
    - `past`: in a waterfall, the place at which a company goes on that it has found; else None.
    - `landed`: done, and not in the log yet.
    - `waiting`: waiting for a process of the local worker host, which all steps share.
    - `retry_s`: seconds until the last retry is due.
    """

    outstanding: int
    done: int
    failed: int
    found: int = 0
    past: int | None = None
    landed: int = 0
    waiting: int = 0
    retry_s: float = 0.0


def step_now(counted: Row, retries: Mapping[str, float]) -> StepNow:
    """A step's rows now; `retries` has the seconds until the last retry of each step."""
    return StepNow(
        outstanding=max(0, counted["arrived"] - counted["done"] - counted["failed"]),
        done=counted["done"],
        failed=counted["failed"],
        found=counted["completed"],
        past=counted["past"],
        landed=counted["landed"],
        waiting=counted["waiting"],
        retry_s=retries.get(counted["step"], 0.0),
    )


@dataclass(frozen=True)
class Span:
    """The time between two ticks: rows done per step, and the steps that had rows to work."""

    seconds: float
    done: Counter[int]
    busy: frozenset[int]


@dataclass(frozen=True)
class Pace:
    """The recent rate: company-steps done per second, of all steps and of each known step.

    `over_s` is the time over which the rate was measured, without pauses. `costs` are seconds of
    the local worker host's time per company at each step.
    """

    per_s: float = 0.0
    over_s: float = 0.0
    steps: Mapping[int, float] = field(default_factory=dict)
    costs: Mapping[int, float] = field(default_factory=dict)


def read_pace(log: Sequence[Entry], steps: Sequence[StepNow]) -> Pace:
    """The recent pace of a batch, by its log and its rows now; empty if nothing moves any more."""
    newest, *older = list(_spans(log, steps)) or [Span(0.0, Counter(), frozenset())]
    between = [span.seconds for span in older[:-1]]  # the oldest span may begin with any wait
    usual_s = median(between) if between else SILENCE_S
    pause_s = max(PAUSE_S, PAUSE_SPANS * usual_s)
    if newest.seconds > max(SILENCE_S, pause_s):
        return Pace()
    spans = [
        span if span.seconds <= pause_s else replace(span, seconds=usual_s)
        for span in (newest, *older)
    ]
    rates = _rates(spans, len(list(_recent(spans))))
    if _total(spans[:-1]).total() >= FEWEST_ROWS:
        spans.pop()  # the oldest: workers were starting, or the log begins within it
    recent = list(_recent(spans))
    over_s = sum(span.seconds for span in recent)
    return Pace(
        per_s=_total(recent).total() / max(over_s, 0.001),
        over_s=over_s,
        steps=rates,
        costs=_costs(spans, recent),
    )


def eta(pace: Pace, steps: Sequence[StepNow], poll_s: float) -> float | None:
    """Seconds until all rows have ended; None if the pace cannot say.

    Steps run in parallel, so the slowest one decides: its rows to come, at its own rate. But if
    calls wait for the local workers, all steps share those, and the work of all steps adds up.
    """
    known = pace.steps.values()
    slowest_s = shared_s = 0.0
    rate = min(known, default=0.0)
    coming: defaultdict[int, float] = defaultdict(float)  # companies, by the place they come to
    for position, step in enumerate(steps):
        if step.outstanding and step.failed and not step.done and step.past is None:
            return None  # all have failed so far: the share that will complete is not known
        to_come = _to_come(step, coming[position])
        for place, rows in _going_on(step, position, to_come):
            coming[place] += rows
        if to_come + step.landed:
            slowest_s = max(slowest_s, poll_s * (len(steps) - position))
        if to_come < 0.5:
            continue
        if not known:
            return None
        rate = pace.steps.get(position) or rate
        slowest_s = max(slowest_s, to_come / rate + poll_s * (len(steps) - position - 0.5))
        shared_s += to_come * pace.costs.get(position, 1 / pace.per_s)
    shared_s += poll_s / 2
    # Right after a tick its calls wait for a moment. So only more than one tick's rows count fully.
    waiting = sum(step.waiting for step in steps)
    shared = min(1.0, waiting / max(pace.per_s * poll_s, 1.0)) if known else 0.0
    last_retry = max((step.retry_s for step in steps), default=0.0)
    return max(shared * shared_s + (1 - shared) * slowest_s, last_retry)


def _to_come(step: StepNow, coming: float) -> float:
    """How many of the step's rows, there or coming, will end and go on."""
    ended = step.done + step.failed
    all_go_on = step.past is not None or not ended
    return (coming + step.outstanding) * (1.0 if all_go_on else step.done / ended)


def _going_on(step: StepNow, position: int, to_come: float) -> Iterator[tuple[int, float]]:
    """Where these rows, and those that have landed, go on, and how many of them."""
    rows = to_come + step.landed
    if step.past is None:
        yield position + 1, rows
        return
    ended = step.done + step.failed
    found = rows * (step.found / ended if ended else 0.0)
    yield step.past, found
    yield position + 1, rows - found


def _spans(log: Sequence[Entry], steps: Sequence[StepNow]) -> Iterator[Span]:
    """The spans, newest first. The first is still open; the last begins where the log begins."""
    outstanding = Counter({i: step.outstanding for i, step in enumerate(steps)})
    done = Counter({i: step.landed for i, step in enumerate(steps) if step.landed})
    outstanding += done
    end, oldest = 0.0, max((entry.ago for entry in log), default=0.0)
    for ago, entries in groupby(sorted(log, key=attrgetter("ago")), attrgetter("ago")):
        at = list(entries)
        if ago == oldest or any(entry.done for entry in at):
            busy = frozenset(i for i, rows in outstanding.items() if rows > 0)
            yield Span(ago - end, done, busy | done.keys())
            done, end = Counter(), ago
        for entry in at:
            outstanding[entry.position] += entry.done - entry.arrived
            done[entry.position] += entry.done
        done = +done


def _recent(spans: Sequence[Span]) -> Iterator[Span]:
    """The newest spans, as many as count as recent."""
    wanted_s = max(RECENT_S, sum(span.seconds for span in spans) / 4)
    seconds = 0.0
    for number, span in enumerate(spans):
        if number >= RECENT_SPANS and seconds >= wanted_s:
            return
        yield span
        seconds += span.seconds


def _rates(spans: Sequence[Span], recent: int) -> dict[int, float]:
    """Each step's rate over the newest `recent` spans in which it had rows to work.

    The spans up to a step's first row done are left out: their length is the time that one row
    takes, and says nothing about the rate.
    """
    first = {i: number for number, span in enumerate(spans) for i in span.done}
    rates = {}
    for i, number in first.items():
        counted = [span for span in spans[: min(number, recent)] if i in span.busy]
        rows, seconds = _total(counted)[i], sum(span.seconds for span in counted)
        if rows >= FEWEST_ROWS:
            rates[i] = rows / max(seconds, 0.001)
    return rates


def _total(spans: Sequence[Span]) -> Counter[int]:
    found: Counter[int] = Counter()
    for span in spans:
        found.update(span.done)
    return found


def _costs(spans: Sequence[Span], recent: Sequence[Span]) -> dict[int, float]:
    """Seconds of the shared workers per company at each step, scaled to the recent spans.

    In each span the rows done took the span's seconds: the costs are fitted to that.
    """
    done, seconds = _total(spans), sum(span.seconds for span in spans)
    equal = dict.fromkeys(done, seconds / max(done.total(), 1))
    costs = _fit(spans, equal) if 1 < len(done) <= MOST_STEPS else equal
    explained = sum(costs[i] * rows for i, rows in _total(recent).items())
    scale = sum(span.seconds for span in recent) / explained if explained else 1.0
    return {i: cost * scale for i, cost in costs.items()}


def _fit(spans: Sequence[Span], equal: Mapping[int, float]) -> dict[int, float]:
    """Costs by least squares, none below 0; the assumption of equal costs has a small weight."""
    own = {i: sum(span.done[i] ** 2 for span in spans) for i in equal}
    taken = {i: sum(span.done[i] * span.seconds for span in spans) for i in equal}
    both = {
        (i, j): sum(span.done[i] * span.done[j] for span in spans)
        for i, j in permutations(equal, 2)
    }
    costs = dict(equal)
    for _ in range(ROUNDS):
        for i in costs:
            weight = EQUAL_WEIGHT * own[i] / len(spans)
            others = sum(both[i, j] * costs[j] for j in costs if j != i)
            costs[i] = max(0.0, (taken[i] - others + weight * equal[i]) / (own[i] + weight))
    return costs
