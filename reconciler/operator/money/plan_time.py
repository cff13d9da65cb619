"""How long calls take at a provider's limits, if nothing else is called there. Pure, but for reads.

The rate keeps even spacing. What of a long window is used already counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from reconciler.contract.database import Connection, Row
from reconciler.contract.limits import SPACED_S, Window, per_s, written
from reconciler.contract.sql.limits import CALLS
from reconciler.operator.money.provider_settings import state_document
from reconciler.provider_state import ProviderState, read_state


@dataclass(frozen=True)
class Used:
    """Calls that a long window counts now, and how long ago the first of them was."""

    calls: int = 0
    since_s: float = 0.0


NOTHING = Used()


@dataclass(frozen=True)
class ProviderTime:
    """How long so many calls take at a provider; `used` is of its long windows."""

    state: ProviderState
    calls: int
    used: Mapping[Window, Used]

    @property
    def seconds(self) -> float | None:
        """From the first call to the last; None if no limit is known."""
        one = self.state
        if not self.calls:
            return 0.0
        if not one.windows and one.learned_rate is None:
            return None
        gap = one.spacing_s or 0.0
        by_window = (self._in_window(window, gap) for window in one.windows)
        return max(max(0, self.calls - one.burst) * gap, *by_window, 0.0)

    def _in_window(self, window: Window, gap: float) -> float:
        if window.seconds <= SPACED_S:
            return 0.0  # kept by the spacing
        used = self.used.get(window, NOTHING)
        times_full, last = divmod(used.calls + self.calls - 1, window.limit)
        waits_s = times_full * window.seconds - used.since_s
        return max(0.0, waits_s) + last * gap if times_full else 0.0

    @property
    def per_s(self) -> float | None:
        """Calls per second in the long run; None if no limit is known."""
        rates = [per_s(self.state.windows), self.state.learned_rate]
        return min((rate for rate in rates if rate is not None), default=None)

    def document(self) -> Row:
        """The time for `--json`; `rate_from` is `set` or `learned`."""
        one = self.state
        learned = one.learned_rate is not None
        return {
            "calls": self.calls,
            "limit": written(one.windows) if one.windows else None,
            "learned_rate": one.learned_rate,
            "per_s": self.per_s,
            "rate_from": "learned" if learned else "set" if one.windows else None,
            "seconds": self.seconds,
            "state": state_document(one)["state"],
        }


def read_times(connection: Connection, calls: Mapping[str, int]) -> dict[str, ProviderTime]:
    """How long the calls take at each provider, which are named."""
    states = [state for name in calls if (state := read_state(connection, name))]
    used = _read_used(connection, states)
    return {one.name: ProviderTime(one, calls[one.name], used.get(one.name, {})) for one in states}


def _read_used(
    connection: Connection, states: Sequence[ProviderState]
) -> dict[str, dict[Window, Used]]:
    long = [(one, w) for one in states for w in one.windows if w.seconds > SPACED_S]
    if not long:
        return {}
    now = long[0][0].now
    asked = {"names": [one.name for one, _ in long], "seconds": [w.seconds for _, w in long]}
    rows: Iterable[Row] = connection.execute(CALLS, {**asked, "now": now})
    counted = {
        (row["name"], row["seconds"]): Used(row["calls"], _ago_s(now - row["first_at"]))
        for row in rows
        if row["calls"]
    }
    found: dict[str, dict[Window, Used]] = {}
    for one, window in long:
        found.setdefault(one.name, {})[window] = counted.get((one.name, window.seconds), NOTHING)
    return found


def _ago_s(passed: timedelta) -> float:
    return max(0.0, passed.total_seconds())
