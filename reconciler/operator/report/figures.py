"""What a report on a batch shows, added up by Postgres; no row of it is read here."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.contract.database import Database, Row
from reconciler.contract.store import BY_THE_SECOND
from reconciler.operator.batch import BatchView
from reconciler.operator.failures import HEX, MOMENT, NAME, QUOTED, READ, UUID
from reconciler.operator.sql import report

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
MOST_ATTEMPTS = 8  # that are told apart
MOST_MESSAGES = 7
MOST_SPANS = 80
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# `messages.VARYING`, in Postgres's words.
KINDS = {
    "read": READ,
    "name": NAME,
    "quoted": QUOTED,
    "varying": rf"\y(?:{UUID}|{HEX})\y|{MOMENT}|\d+(?:[.:,]\d+)*",
}
WIDTHS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(MINUTE_S * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR_S * n for n in (1, 2, 4, 6, 12)),
    *(DAY_S * n for n in (1, 2, 7, 14, 30, 90, 365)),
)


@dataclass(frozen=True)
class Report:
    """A batch's past in sums.

    `throughput` and `failures` have a row per span of `width_s` seconds that had any; `latency`
    has per step a list in the order of `SHARES` for the seconds from claim to begin (`start_s`)
    and from begin to end (`work_s`); `attempts` has rows by step, number and status.
    """

    width_s: int
    throughput: list[Row]
    latency: list[Row]
    failures: list[Row]
    attempts: list[Row]


def read_report(database: Database, batch: BatchView) -> Report:
    """Add up what has happened to `batch`; takes seconds for a million rows."""
    width_s = width(batch.created_at, batch.finished_at or batch.now, batch.now)
    of = {"batch_id": batch.id}
    binned = {**of, "width": timedelta(seconds=width_s)}
    return Report(
        width_s=width_s,
        throughput=database.rows(report.THROUGHPUT, **binned),
        latency=database.rows(report.LATENCY, **of, shares=list(SHARES.values())),
        failures=database.rows(report.FAILURES, **binned, **KINDS, most=MOST_MESSAGES),
        attempts=database.rows(report.ATTEMPTS, **of, most=MOST_ATTEMPTS),
    )


def width(since: datetime, until: datetime, now: datetime) -> int:
    """Seconds per span, so that there are about `MOST_SPANS` at most.

    The log of progress is kept by the second for a while, and then by the minute.
    """
    least_s = MINUTE_S if now - since > BY_THE_SECOND else 1
    wanted_s = max(least_s, (until - since).total_seconds() / MOST_SPANS)
    return next((width_s for width_s in WIDTHS_S if width_s >= wanted_s), WIDTHS_S[-1])
