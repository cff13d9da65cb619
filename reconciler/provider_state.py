"""How a provider stands: its limits, and what holds its calls back now, as people are shown it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.contract.database import Connection, Database, Row
from reconciler.contract.limits import (
    HIGHEST,
    HORIZON_S,
    REFILL_S,
    SPACED_S,
    Provider,
    Window,
    from_documents,
    written,
)

# `under_way` counts calls as a claim does: rows in flight, of which a call of a bulk step has many.
STATES = """
SELECT p.name, p.windows, p.burst, p.max_concurrent, p.spacing_s, p.next_at, p.full_until,
    nullif(p.paused_until, 'infinity') AS paused_until,
    coalesce(p.paused_until = 'infinity', false) AS until_resumed, p.pause_kind, p.paused_why,
    p.failures, p.learned_rate, p.ceiling, p.refusals, p.refused_at,
    coalesce((
        SELECT sum(ceil((SELECT count(*) FROM workflow_states w
                   WHERE w.step_name = r.step_name AND w.status IN ('QUEUED', 'IN_PROGRESS'))::float
               / coalesce(r.bulk, 1)))
        FROM enrichment_registry r
        WHERE r.provider = p.name), 0)::int AS under_way, now() AS now
FROM providers p
WHERE %(names)s::text[] IS NULL OR p.name = ANY(%(names)s)
ORDER BY p.name
"""
STEPS = """
SELECT step_name AS step, provider, coalesce(bulk, 1) AS bulk
FROM enrichment_registry
WHERE provider IS NOT NULL
"""


class Standing(StrEnum):
    """Whether a provider is called."""

    OPEN = "open"
    PAUSED = "paused"
    FULL = "full"  # a long window is used up
    PROBING = "probing"  # after a fault of its own, one call at a time shows whether it is well


@dataclass(frozen=True, kw_only=True)
class ProviderState:
    """A row of `STATES`. `paused_until` is None where it is paused until somebody resumes it."""

    name: str
    windows: tuple[Window, ...]
    burst: int
    max_concurrent: int | None
    spacing_s: float | None
    next_at: datetime | None
    full_until: datetime | None
    paused_until: datetime | None
    until_resumed: bool
    pause_kind: str | None
    paused_why: str | None
    failures: int
    learned_rate: float | None
    ceiling: float | None
    refusals: int
    refused_at: datetime | None
    under_way: int
    now: datetime

    @property
    def standing(self) -> Standing:
        """Whether it is called now."""
        if self.until_resumed or _later(self.paused_until, self.now):
            return Standing.PAUSED
        if _later(self.full_until, self.now):
            return Standing.FULL
        return Standing.PROBING if self.failures else Standing.OPEN

    @property
    def closed(self) -> bool:
        """Whether nothing of it is claimed."""
        return self.standing in (Standing.PAUSED, Standing.FULL)

    @property
    def closed_until(self) -> datetime | None:
        """When it is called again: None if it is not closed, or until somebody resumes it."""
        until = {Standing.PAUSED: self.paused_until, Standing.FULL: self.full_until}
        return until.get(self.standing)

    @property
    def at_a_time(self) -> int | None:
        """How many of its calls may be under way; None without a limit."""
        return 1 if self.failures else self.max_concurrent

    @property
    def busy(self) -> bool:
        """Whether as many calls are under way as may be."""
        return self.at_a_time is not None and self.under_way >= self.at_a_time

    @property
    def next_calls(self) -> int | None:
        """How many calls the next claim gives a time, by the rate; None without one."""
        if self.spacing_s is None:
            return None
        if _later(self.next_at, self.now + timedelta(seconds=REFILL_S)):
            return 0
        slots, _ = self._by_rate.take(HIGHEST, self.now)
        return len(slots)

    def goes_out_at(self, calls_before: int) -> datetime:
        """When a call goes out that so many come before, at the earliest."""
        gap = timedelta(seconds=self.spacing_s or 0)
        # The first of a burst go out at once.
        first = self.now - (self.burst - 1) * gap
        first = max(first, self.next_at) if self.next_at else first
        return max(self.now, first + calls_before * gap)

    @property
    def _by_rate(self) -> Provider:
        return Provider(self.name, burst=self.burst, spacing_s=self.spacing_s, next_at=self.next_at)


@dataclass(frozen=True)
class Waiting:
    """The rows that wait for a provider; `calls` is how many calls they take, at least."""

    provider: ProviderState
    rows: int
    calls: int

    @property
    def until(self) -> datetime | None:
        """Until when at least one of them waits; None until somebody does something."""
        if self.provider.closed:
            return self.provider.closed_until
        return self.provider.goes_out_at(self.calls - 1) if self.provider.spacing_s else None

    @property
    def held_back(self) -> bool:
        """Whether the provider is why they wait: it is closed or busy, or they are more than its
        rate lets through soon."""
        one = self.provider
        by_rate = one.spacing_s is not None and self.calls * one.spacing_s > HORIZON_S
        return self.rows > 0 and (one.closed or one.busy or by_rate)


def read_states(database: Database, names: Sequence[str] | None = None) -> list[ProviderState]:
    """The providers with these names, or all, by name."""
    asked = None if names is None else list(names)
    return [_as_state(row) for row in database.rows(STATES, names=asked)]


def read_state(connection: Connection, name: str) -> ProviderState | None:
    """The provider with this name, within a transaction."""
    found = connection.execute(STATES, {"names": [name]}).fetchone()
    return _as_state(found) if found else None


def read_held_back(database: Database, pending: Iterable[tuple[str, int]]) -> list[Waiting]:
    """The providers that hold these rows back: `pending` are steps, and how many rows of each."""
    rows: dict[str, int] = {}
    for step, count in pending:
        rows[step] = rows.get(step, 0) + count
    steps = [row for row in database.rows(STEPS) if rows.get(row["step"])]
    if not steps:
        return []
    found = []
    for state in read_states(database, sorted({row["provider"] for row in steps})):
        own = [(rows[s["step"]], s["bulk"]) for s in steps if s["provider"] == state.name]
        waiting = Waiting(state, sum(n for n, _ in own), sum(-(-n // bulk) for n, bulk in own))
        if waiting.held_back:
            found.append(waiting)
    return found


def standing_text(state: ProviderState, moment: Callable[[datetime], str]) -> str:
    """`open`, `paused until …`, `full until …`; `moment` writes a time."""
    standing, until = state.standing, state.closed_until
    if standing is Standing.PAUSED and until is None:
        return "paused until resumed"
    return f"{standing} until {moment(until)}" if until else str(standing)


def pace_text(state: ProviderState) -> str:
    """The rate of its calls: `its limit of 5/s`, `the learned rate of 47/s`."""
    if state.learned_rate is not None:
        return f"the learned rate of {rate_text(state.learned_rate)}"
    return f"its limit of {written(w for w in state.windows if w.seconds <= SPACED_S)}"


def rate_text(per_s: float) -> str:
    """`47/s`, `3.5/s`; of a slow one `30/min`, `2/h`."""
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if per_s * length >= 1:
            return f"{_digits(per_s * length)}/{unit}"
    return f"{_digits(per_s * 86_400)}/d"


def _as_state(row: Row) -> ProviderState:
    windows = from_documents(row["windows"])
    return ProviderState(**{**row, "windows": windows})


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _later(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now
