"""Providers with limits: how tests set them, and read when their calls go out."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.contract.limits import MARGIN, read_windows, spacing_s
from tests.world import World

SECOND = timedelta(seconds=1)
# Ends the rows of a company, as an operator does who cancels them.
END = (
    "UPDATE workflow_states SET status = 'CANCELLED', lease_expires_at = NULL, finished_at = now()"
    " WHERE company_id"
)


def limit(world: World, given: str = "none", **changes: Any) -> None:
    """Give the provider these limits, of which nothing is used, and these columns."""
    windows = read_windows(given)
    values = {
        "windows": Jsonb([{"limit": w.limit, "seconds": w.seconds} for w in windows])
        if windows
        else None,
        "spacing_s": spacing_s(windows),
        **changes,
    }
    columns = ", ".join(f"{name} = %({name})s" for name in values)
    world.sql(f"UPDATE providers SET {columns} WHERE name = 'acme'", **values)


def provider_row(world: World) -> dict[str, Any]:
    """What is known of the provider. `waits_s`: for so many seconds it is paused, infinity if until
    somebody resumes it."""
    (found,) = world.sql(
        "SELECT spacing_s, next_at, calls_left, full_until, pause_kind, paused_why, failures,"
        " learned_rate, ceiling, refusals,"
        " extract(epoch FROM paused_until - clock_timestamp())::float8 AS waits_s"
        " FROM providers WHERE name = 'acme'"
    )
    return found


def times(world: World, where: str = "true") -> list[datetime]:
    """When calls go out that are not sent yet; those of one bulk call once."""
    found = world.sql(f"SELECT DISTINCT send_at FROM orders WHERE {where} ORDER BY send_at")
    return [row["send_at"] for row in found if row["send_at"]]


def gaps(moments: Iterable[datetime]) -> list[float]:
    """Seconds between each and the next, in milliseconds at most."""
    return [
        round((after - before).total_seconds(), 3) for before, after in pairwise(sorted(moments))
    ]


def gap_of(per_s: float) -> float:
    """Seconds between two calls at such a limit."""
    return round((1 + MARGIN) / per_s, 3)


def claim(world: World, now: datetime) -> int:
    """Claim at that time; returns the number of rows."""
    return sum(len(chunk.company_ids) for chunk in world.store.claim(now))


def keys(prefix: str, count: int) -> list[str]:
    """So many companies' keys."""
    return [f"{prefix}-{i}" for i in range(count)]


def touched(world: World, now: datetime) -> int:
    """How many rows a claim writes."""
    seen = "SELECT company_id, step_name, batch_id, xmin::text FROM workflow_states"
    before = world.sql(seen)
    world.store.claim(now)
    return sum(row not in before for row in world.sql(seen))


def resume(world: World) -> None:
    """The provider is not paused any more, and rows that wait may be claimed."""
    world.sql(
        "UPDATE providers SET paused_until = NULL, pause_kind = NULL, paused_why = NULL,"
        " failures = 0, next_at = NULL"
    )
    world.sql("UPDATE workflow_states SET available_at = now() WHERE status = 'PENDING'")
