"""The figures of a batch's report, added up by Postgres.

The answers have one row per span of time, step, message or number of attempts, however many
company-steps there are. Each statement reads the batch's rows once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.contract.database import Database, Row
from reconciler.contract.store import BY_THE_SECOND
from reconciler.operator.batch import BatchView
from reconciler.operator.failures import HEX, MOMENT, NAME, QUOTED, READ, UUID

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
MOST_ATTEMPTS = 8  # the last bar: this many attempts or more
MOST_MESSAGES = 7  # messages with a colour of their own
MOST_SPANS = 80  # bars over the batch's time
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# `failures.VARYING`, as a regular expression of Postgres.
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

# Spans begin at whole multiples of their width.
_BIN = "date_bin(%(width)s, {at}, timestamptz '2000-01-01 00:00Z')"

# The rows that ended and go on, as ticks logged them.
THROUGHPUT = f"""
SELECT {_BIN.format(at="p.at")} AS at, b.steps ->> p.position AS step,
    sum(p.completed + p.not_found + p.skipped)::int AS rows
FROM progress p
JOIN batches b ON b.id = p.batch_id
WHERE p.batch_id = %(batch_id)s AND p.completed + p.not_found + p.skipped > 0
GROUP BY 1, p.position, b.steps
ORDER BY 1, p.position
"""

# Of the attempts that a step answered: seconds from claim to begin, and from begin to end.
LATENCY = """
SELECT step_name AS step, count(*)::int AS rows,
    percentile_disc(%(shares)s::float8[]) WITHIN GROUP (
        ORDER BY extract(epoch FROM started_at - queued_at)::float8) AS start_s,
    percentile_disc(%(shares)s::float8[]) WITHIN GROUP (
        ORDER BY extract(epoch FROM finished_at - started_at)::float8) AS work_s
FROM workflow_states
WHERE batch_id = %(batch_id)s AND status IN ('COMPLETED', 'NOT_FOUND')
GROUP BY step_name, position
ORDER BY position
"""

# The ended rows by their number of attempts; `most` stands for that many and more.
ATTEMPTS = """
SELECT step_name AS step, least(attempt, %(most)s) AS attempts, status, count(*)::int AS rows
FROM workflow_states
WHERE batch_id = %(batch_id)s AND status IN ('COMPLETED', 'NOT_FOUND', 'SKIPPED', 'FAILED')
GROUP BY step_name, position, 2, status
ORDER BY position, 2, status
"""

# `failures.kind` in SQL: a million messages are too many to bring to Python.
KIND = """
btrim(regexp_replace(regexp_replace(error, %(quoted)s, '…', 'gi'), %(varying)s, '#', 'gi'))
"""

# The error with `…` for the company's names, as in `failures.kind`.
NAMELESS = """
replace(replace(replace(left(coalesce(error, 'no message'), %(read)s),
    CASE WHEN length(c.name) >= %(name)s THEN c.name ELSE '' END, '…'),
    CASE WHEN length(c.domain) >= %(name)s THEN c.domain ELSE '' END, '…'),
    CASE WHEN length(c.key) >= %(name)s THEN c.key ELSE '' END, '…')
"""

# All failed attempts: those with a later attempt are in `attempts`, the last one is the row itself.
# Beyond the `most` frequent messages, step and message are null. First all digits become 0: that is
# quick, and leaves few texts for the patterns, which take 40 µs each.
FAILURES = f"""
WITH failed AS (
    SELECT step_name, company_id, ended_at AS at, error FROM attempts
    WHERE batch_id = %(batch_id)s
    UNION ALL
    SELECT step_name, company_id, finished_at, error FROM workflow_states
    WHERE batch_id = %(batch_id)s AND status = 'FAILED'
), alike AS (
    SELECT step_name, {_BIN.format(at="at")} AS at,
        translate({NAMELESS}, '123456789', '000000000') AS error,
        count(*) AS rows
    FROM failed
    JOIN companies c ON c.id = company_id
    GROUP BY 1, 2, 3
), kinds AS MATERIALIZED (
    SELECT step_name, at, {KIND} AS message, sum(rows) AS rows
    FROM alike
    GROUP BY 1, 2, 3
), ranked AS (
    SELECT step_name, message,
        row_number() OVER (ORDER BY sum(rows) DESC, step_name, message) AS rank
    FROM kinds
    GROUP BY step_name, message
)
SELECT k.at, f.step_name AS step, f.message, sum(k.rows)::int AS rows
FROM kinds k
LEFT JOIN ranked f
    ON (f.step_name, f.message) = (k.step_name, k.message) AND f.rank <= %(most)s
GROUP BY k.at, f.step_name, f.message
ORDER BY k.at, f.step_name, f.message
"""


# What orders of the batch have cost, as it is booked, by when that was known. Some may be removed
# already; what they have cost stays in `spend`.
CHARGED = f"""
SELECT {_BIN.format(at="coalesce(answered_at, unknown_at, settled_at)")} AS at, step_name AS step,
    sum(settled) AS charged
FROM orders
WHERE batch_id = %(batch_id)s AND made_at >= %(since)s AND settled > 0
GROUP BY 1, 2
ORDER BY 1, 2
"""

# An earlier batch may have had the name: what was booked before this one was seeded is left out.
BOUGHT = """
SELECT step_name AS step, nullif(provider, '') AS provider, sum(bought)::int AS bought,
    sum(hits)::int AS hits, sum(unknown)::int AS unknown, sum(reused)::int AS reused,
    sum(charged) AS charged
FROM spend
WHERE batch = %(batch)s AND day >= (%(since)s AT TIME ZONE 'UTC')::date
GROUP BY step_name, provider
HAVING sum(bought) + sum(reused) > 0
ORDER BY step_name, provider
"""


@dataclass(frozen=True)
class Report:
    """The sums over a batch's past.

    - `width_s`: seconds of a span, the width of a bar.
    - `throughput`, `failures`: a row per span that had any.
    - `latency`: a row per step. `start_s` (claim to begin) and `work_s` (begin to end) are lists of
      seconds in the order of `SHARES`.
    - `attempts`: the number of rows by step, number of attempts and status.
    - `charged`: what was charged, by span and step.
    - `bought`: by step and provider, how many answers were `bought`, those with a result (`hits`)
      or of `unknown` cost among them; how many were `reused`; what was `charged`.
    """

    width_s: int
    throughput: list[Row]
    latency: list[Row]
    failures: list[Row]
    attempts: list[Row]
    charged: list[Row]
    bought: list[Row]


def read_report(database: Database, batch: BatchView) -> Report:
    """Add up the batch's figures; takes seconds for a million rows."""
    width_s = width(batch.created_at, batch.finished_at or batch.now, batch.now)
    named = {"batch_id": batch.id}
    binned = {**named, "width": timedelta(seconds=width_s)}
    return Report(
        width_s=width_s,
        throughput=database.rows(THROUGHPUT, **binned),
        latency=database.rows(LATENCY, **named, shares=list(SHARES.values())),
        failures=database.rows(FAILURES, **binned, **KINDS, most=MOST_MESSAGES),
        attempts=database.rows(ATTEMPTS, **named, most=MOST_ATTEMPTS),
        charged=database.rows(CHARGED, **binned, since=batch.created_at),
        bought=database.rows(BOUGHT, batch=batch.name, since=batch.created_at),
    )


def width(since: datetime, until: datetime, now: datetime) -> int:
    """Seconds per span, so that there are at most about `MOST_SPANS` spans.

    The log of progress is exact to the second at first, and later only to the minute.
    """
    least_s = MINUTE_S if now - since > BY_THE_SECOND else 1
    wanted_s = max(least_s, (until - since).total_seconds() / MOST_SPANS)
    return next((width_s for width_s in WIDTHS_S if width_s >= wanted_s), WIDTHS_S[-1])
