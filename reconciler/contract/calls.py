"""When the calls of claimed rows go out: a provider's limits are shared among its batches."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from reconciler.contract.claimed import Chunk
from reconciler.contract.database import Connection, Row
from reconciler.contract.limits import MARGIN, MARGIN_S, Provider, Window, from_documents
from reconciler.contract.sql import limits as queries

Key = tuple[int, str]  # a company and a step


@dataclass(frozen=True)
class ClaimedCall:
    """One call to a provider: the rows that it is for, and the batch of the first."""

    keys: tuple[Key, ...]
    batch_id: int
    priority: int


@dataclass(frozen=True)
class Times:
    """When each row's call goes out, by its key, and the providers after that.

    Rows that are to be called for and that are missing in `send_at` must wait, unless their
    provider has no limits.
    """

    send_at: Mapping[Key, datetime] = field(default_factory=dict)
    late: frozenset[Key] = frozenset()
    providers: Sequence[Provider] = ()

    def arrays(self) -> dict[str, list[Any]]:
        """The providers as the parallel arrays of PLACE."""
        each = self.providers
        return {
            "limited": [one.name for one in each],
            "next_ats": [one.next_at for one in each],
            "lefts": [one.calls_left for one in each],
            "fulls": [one.full_until for one in each],
            "spacings": [one.spacing_s for one in each],
            "rates": [one.learned_rate for one in each],
            "ceilings": [one.ceiling for one in each],
            "changed": [one.changed_at for one in each],
            "counting": [one.name for one in each if one.long],
        }


def give_times(
    connection: Connection, chunks: Sequence[Chunk], calling: Iterable[Key], now: datetime
) -> Times:
    """Give each row of `calling` the time of its call, as far as its provider's limits allow."""
    limited = [chunk for chunk in chunks if chunk.priorities]
    wanted = claimed_calls(limited, set(calling), now)
    if not wanted:
        return Times()
    asked = {"names": sorted(wanted), "now": now}
    rows = connection.execute(queries.PROVIDERS, asked).fetchall()
    of_claim = Counter[str]()
    for chunk in limited:
        of_claim[str(chunk.provider)] += calls_of(chunk)
    found = [read_provider(row, of_claim[row["name"]]) for row in rows]
    providers = counted(connection, found, {name: len(wanted[name]) for name in wanted}, now)
    send_at, late, after = dict[Key, datetime](), set[Key](), []
    for provider in providers:
        calls = wanted[provider.name]
        slots, moved = provider.take(len(calls), now)
        after.append(moved if moved.calls_left == 0 else replace(moved, full_until=None))
        send_at |= {key: at for call, at in zip(calls, slots, strict=False) for key in call.keys}
        late |= {key for call in calls[len(slots) :] for key in call.keys}
    return Times(send_at, frozenset(late), after)


def claimed_calls(
    chunks: Iterable[Chunk], calling: set[Key], now: datetime
) -> dict[str, list[ClaimedCall]]:
    """The calls of each provider, in the order in which they get their times.

    Higher priorities come first. Within one, batches take turns: which begins changes with `now`.
    """
    calls: dict[str, list[ClaimedCall]] = {}
    for chunk in chunks:
        rows = [
            (key, batch_id)
            for company_id, batch_id in zip(chunk.company_ids, chunk.batch_ids, strict=True)
            if (key := (company_id, chunk.step_name)) in calling
        ]
        size = chunk.bulk or 1
        for some in (rows[i : i + size] for i in range(0, len(rows), size)):
            batch_id = some[0][1]
            priority = (chunk.priorities or {})[str(batch_id)]
            call = ClaimedCall(tuple(key for key, _ in some), batch_id, priority)
            calls.setdefault(str(chunk.provider), []).append(call)
    return {name: in_turn(of_provider, now) for name, of_provider in calls.items()}


def in_turn(calls: Sequence[ClaimedCall], now: datetime) -> list[ClaimedCall]:
    """See `claimed_calls`."""
    before = Counter[int]()
    order = list[tuple[int, int, int]]()
    for call in calls:
        order.append((-call.priority, before[call.batch_id], hash((call.batch_id, now))))
        before[call.batch_id] += 1
    return [call for _, call in sorted(zip(order, calls, strict=True), key=lambda both: both[0])]


def calls_of(chunk: Chunk) -> int:
    """The calls to the provider that a chunk is counted as, while its rows are in flight."""
    return -(-len(chunk.company_ids) // (chunk.bulk or 1))


def read_provider(row: Row, of_claim: int) -> Provider:
    """A row of PROVIDERS; `of_claim` of the calls that it counts are those of this claim."""
    windows = from_documents(row.pop("windows"))
    busy = max(0, (row.pop("in_flight") or 0) - of_claim) + row.pop("lost")
    return Provider(**row, windows=windows, busy=busy)


def counted(
    connection: Connection, providers: Sequence[Provider], wanted: Mapping[str, int], now: datetime
) -> list[Provider]:
    """The providers, with the room of their long windows where that is not known."""
    due = [one for one in providers if one.counted_anew(wanted[one.name])]
    if not due:
        return list(providers)
    asked = [(one, window) for one in due for window in one.long]
    values = {
        "names": [one.name for one, _ in asked],
        "seconds": [kept_s(window) for _, window in asked],
        "now": now,
    }
    calls = {
        (row["name"], row["seconds"]): row for row in connection.execute(queries.CALLS, values)
    }
    return [
        with_room(one, [(w, calls[one.name, kept_s(w)]) for w in one.long]) if one in due else one
        for one in providers
    ]


def with_room(provider: Provider, calls: Sequence[tuple[Window, Row]]) -> Provider:
    """The provider, with what its long windows have room for by these counts.

    `full_until`: when the last window that is the first to be full opens again.
    """
    left = {window: max(0, window.limit - row["calls"]) for window, row in calls}
    least = min(left.values())
    opens = [
        row["first_at"] + timedelta(seconds=kept_s(window))
        for window, row in calls
        if left[window] == least and row["first_at"]
    ]
    return replace(provider, calls_left=least, full_until=max(opens, default=None))


def kept_s(window: Window) -> float:
    """Seconds in which no more than the limit of a long window go out: a little longer than it."""
    return window.seconds + min(MARGIN * window.seconds, MARGIN_S)
