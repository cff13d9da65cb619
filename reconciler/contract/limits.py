"""How often a provider may be called, and when each call may go out.

Windows of a minute at most are kept by even spacing: then whoever counts, in fixed windows or in
sliding ones, counts no more than the limit. Longer windows are counted: their calls may come soon.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from reconciler.contract.durations import duration
from reconciler.contract.errors import BadInput

SPACED_S = 60.0  # the longest window that is kept by spacing
# Calls keep so far below a limit: they arrive a little earlier or later than they were to go out.
MARGIN = 0.035
MARGIN_S = 60.0  # of a long window, the margin is this much at most
# A call is claimed at most so long before it goes out, and its worker waits for so long.
HORIZON_S = 2.0
# More are claimed when those that wait last for less: else each tick would claim one or two.
REFILL_S = 1.5
LEAD_S = (
    0.25  # from the claim to the first call, where none waits: a worker must have begun by then
)
# A limit that is not known is learned. After the first refusal the rate is what was just answered,
# and doubled in the time in which calls wait: before that nobody knows what the last doubling did.
# After the second refusal it grows by a hundredth of the rate that was refused, each second.
FIRST_RATE = 5.0  # calls per second, at least
GROWTH = 0.01
MOST_WINDOWS = 5
LONGEST_S = 2_678_400.0  # a month of 31 days
HIGHEST = 1_000_000_000

TICK = timedelta(microseconds=1)  # the smallest difference that Postgres keeps

_WINDOW = re.compile(r"(\d+)\s*/\s*(\d*\s*(?:ms|s|min|m|h|d|w))")
USAGE = "write 5/s, 60/min, 1000/d, 10/30s, several with a comma between them, or none"


@dataclass(frozen=True, order=True)
class Window:
    """At most `limit` calls in any `seconds`."""

    seconds: float
    limit: int

    def __str__(self) -> str:
        for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
            count = self.seconds / length
            if count >= 1 and count == int(count):
                return f"{self.limit}/{'' if count == 1 else int(count)}{unit}"
        return f"{self.limit}/{1000 * self.seconds:g}ms"


def read_windows(given: str) -> tuple[Window, ...]:
    """The windows of `5/s,1000/d`, the shortest first; () for `none`.

    Raises:
        BadInput: it names no limits.
    """
    if given.strip() == "none":
        return ()
    found = []
    for part in given.split(","):
        match = _WINDOW.fullmatch(part.strip())
        if not match or not 0 < int(match[1]) <= HIGHEST:
            raise BadInput(f"{part.strip()!r} is no limit of calls: {USAGE}.")
        length = match[2] if match[2][0].isdigit() else f"1{match[2]}"
        window = Window(duration(length), int(match[1]))
        if window.seconds > LONGEST_S:
            raise BadInput(f"{part.strip()!r} is longer than 31 days.")
        found.append(window)
    if len(found) > MOST_WINDOWS or len({window.seconds for window in found}) < len(found):
        raise BadInput(f"Name {MOST_WINDOWS} windows at most, each length once: {USAGE}.")
    return tuple(sorted(found))


def written(windows: Iterable[Window]) -> str:
    """The windows as `read_windows` reads them."""
    return ",".join(map(str, windows)) or "none"


def documents(windows: Iterable[Window]) -> list[dict[str, float]]:
    """The windows as `providers.windows` has them."""
    return [{"limit": window.limit, "seconds": window.seconds} for window in windows]


def from_documents(found: Iterable[Mapping[str, Any]] | None) -> tuple[Window, ...]:
    """The windows of `providers.windows`, the shortest first."""
    return tuple(sorted(Window(one["seconds"], one["limit"]) for one in found or ()))


def spacing_s(windows: Iterable[Window]) -> float | None:
    """Seconds between calls by which the short windows are kept; None if there are none."""
    short = (window.seconds / window.limit for window in windows if window.seconds <= SPACED_S)
    slowest = max(short, default=None)
    return None if slowest is None else slowest * (1 + MARGIN)


def per_s(windows: Iterable[Window]) -> float | None:
    """The calls per second that all windows allow in the long run; None without windows."""
    return min((window.limit / window.seconds for window in windows), default=None)


class PauseKind(StrEnum):
    """Why a provider is paused; `providers.pause_kind`."""

    ASKED = "asked"  # it has asked to wait (429)
    REFUSED = "refused"  # no credits (402), or a wrong key (401): until somebody resumes it
    FAILING = "failing"  # it fails again and again: one call will show whether it is well
    OPERATOR = "operator"  # a person has paused it


@dataclass(frozen=True)
class Pause:
    """What a worker has found out about a provider; `wait_s` is what it has asked for."""

    kind: PauseKind
    why: str
    wait_s: float = 0.0


@dataclass(frozen=True)
class Provider:
    """A provider's limits, and how far they are used.

    `spacing_s`: seconds between calls, None for none; `next_at`: when the next call may go out.
    `concurrent`: calls at a time, of which `busy` are under way. `calls_left`: how many the long
    windows still have room for, at least; None if that is to be counted. `learned_rate`: calls per
    second, since the provider has refused more; `ceiling`: the rate that it refused.
    """

    name: str
    windows: tuple[Window, ...] = ()
    burst: int = 1
    concurrent: int | None = None
    busy: int = 0
    paused: bool = False
    spacing_s: float | None = None
    next_at: datetime | None = None
    calls_left: int | None = None
    full_until: datetime | None = None
    learned_rate: float | None = None
    ceiling: float | None = None
    changed_at: datetime | None = None

    @property
    def long(self) -> tuple[Window, ...]:
        """The windows whose calls are counted."""
        return tuple(window for window in self.windows if window.seconds > SPACED_S)

    def counted_anew(self, wanted: int) -> bool:
        """Whether the long windows must be counted before `wanted` calls are let through."""
        return bool(self.long) and (self.calls_left is None or self.calls_left < wanted)

    def take(self, wanted: int, now: datetime) -> tuple[list[datetime], "Provider"]:
        """When the next calls may go out, and the provider after that: `wanted` of them, or as many
        as may be claimed now. No two have the same time, by which they are counted."""
        room = [wanted]
        if self.concurrent is not None:
            room.append(self.concurrent - self.busy)
        if self.calls_left is not None:
            room.append(self.calls_left)
        most = 0 if self.paused else max(0, min(room))
        gap = max(TICK, timedelta(seconds=self.spacing_s or 0.0))
        soonest = now + timedelta(seconds=LEAD_S) if self.spacing_s else now
        first = soonest - (self.burst - 1) * gap
        first = max(first, self.next_at) if self.next_at else first
        last = now + timedelta(seconds=HORIZON_S)
        fitting = 1 + (last - first) // gap if first <= last else 0
        count = min(most, fitting)
        slots = [max(first + i * gap, soonest + i * TICK) for i in range(count)]
        if not slots:
            return [], self
        left = None if self.calls_left is None else self.calls_left - count
        following = max(first + count * gap, slots[-1] + TICK)
        moved = replace(self, next_at=following, calls_left=left)
        return slots, moved.faster(now) if count == fitting else moved

    def faster(self, now: datetime) -> "Provider":
        """The provider with a learned rate that has grown since it last changed, if it has one."""
        if self.learned_rate is None:
            return self
        since_s = (now - self.changed_at).total_seconds() if self.changed_at else 0.0
        grown_s = min(max(since_s, 0.0), HORIZON_S)
        if self.ceiling is None:
            rate = self.learned_rate * 2 ** (grown_s / HORIZON_S)
        else:
            rate = self.learned_rate + GROWTH * self.ceiling * grown_s
        known = spacing_s(self.windows)
        if known is not None and rate * known >= 1:
            return replace(self, learned_rate=None, ceiling=None, spacing_s=known, changed_at=now)
        return replace(self, learned_rate=rate, spacing_s=1 / rate, changed_at=now)
