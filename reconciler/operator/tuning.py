"""Finds the poll interval for a wanted pick-up latency, from recent pick-ups.

A pick-up has two parts. First, an available row waits for the next tick: the poll interval decides
how long. Then comes the overhead, until its worker begins: the tick, the dispatch, the start of the
call.
"""

from dataclasses import dataclass
from datetime import timedelta

from reconciler.contract.database import Database, Row

WINDOW = timedelta(hours=1)  # recent: within this time
PAGES = 300  # pages in the sample, of about 65 rows each: 20,000 rows
ENOUGH = 200  # with fewer recent rows in the sample, read the newest batches instead
BATCHES, COMPANIES = 20, 100  # then read this many batches, and companies of each
PICKUPS = 1000  # at most this many: each is one more look-up by key

P95 = 0.95
POLLS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
# The schedule does not change the latency: runs follow each other without a gap. A longer schedule
# saves starts of 5 to 8 CPU seconds each. But a dead loop is replaced only by the next run, and ten
# minutes are long enough to wait for that.
EVERY_S = 600.0

# The table has no index by time, and may be too large to read whole. So recent rows are searched in
# a bounded number of pages; and if these have too few, in the newest batches.

# A percentage of the pages. A share of the rows would need statistics, which may be missing.
SAMPLED = """
workflow_states w TABLESAMPLE SYSTEM (
    (SELECT least(100, 100.0 * %(pages)s * current_setting('block_size')::int
                  / greatest(1, pg_relation_size('workflow_states')))))
"""

# Of each batch that moved within the window, companies whose ids are evenly spaced, read by index
# alone. The LIMIT keeps the planner from joining the rows by a scan of their table.
RECENT = """
(
    SELECT r.batch_id, e.low, e.high
    FROM (SELECT DISTINCT batch_id FROM progress WHERE at > now() - %(window)s
          ORDER BY batch_id DESC LIMIT %(batches)s) r
    CROSS JOIN LATERAL (
        SELECT min(company_id) AS low, max(company_id) AS high
        FROM batch_companies WHERE batch_id = r.batch_id) e
) r
CROSS JOIN LATERAL (
    SELECT DISTINCT m.company_id
    FROM generate_series(r.low, r.high, 1 + (r.high - r.low) / %(companies)s) AS point
    CROSS JOIN LATERAL (
        SELECT company_id FROM batch_companies
        WHERE batch_id = r.batch_id AND company_id >= point
        ORDER BY company_id LIMIT 1) m
) m
CROSS JOIN LATERAL (
    SELECT * FROM workflow_states
    WHERE company_id = m.company_id AND batch_id = r.batch_id LIMIT 100
) w
"""

# Overhead: from the clock of the claiming tick to the begin. Pick-up: from the end of a company's
# step to the begin of its next step, if that is its first attempt.
READ = """
WITH begun AS MATERIALIZED (
    SELECT w.company_id, w.batch_id, w.position, w.attempt, w.started_at,
        extract(epoch FROM w.started_at - w.queued_at)::float8 AS overhead_s
    FROM {source}
    WHERE w.started_at > now() - %(window)s
), picked AS (
    SELECT extract(epoch FROM s.started_at - done.finished_at)::float8 AS took_s,
        done.finished_at < p.changed_at AS earlier
    FROM (SELECT * FROM begun WHERE position > 0 AND attempt = 1
          ORDER BY random() LIMIT %(pickups)s) s
    CROSS JOIN polling p
    CROSS JOIN LATERAL (
        SELECT finished_at FROM workflow_states
        WHERE company_id = s.company_id AND batch_id = s.batch_id AND position < s.position
        ORDER BY position DESC
        LIMIT 1) done
)
SELECT *
FROM (
    SELECT count(*) AS rows,
        coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY overhead_s), 0) AS overhead_p50_s,
        coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY overhead_s), 0) AS overhead_p95_s
    FROM begun) o
CROSS JOIN (
    SELECT count(*) AS pickups, coalesce(bool_or(earlier), false) AS mixed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS pickup_p50_s,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY took_s) AS pickup_p95_s
    FROM picked) p
CROSS JOIN (
    SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) / 1000 AS tick_p95_s
    FROM ticks
    WHERE at > now() - %(window)s AND claimed > 0) t
"""


@dataclass(frozen=True)
class Pickups:
    """Quantiles over the rows that began within `WINDOW`, in seconds.

    - `rows`: the number of rows behind the overhead; without rows it is 0.
    - `pickups`: the number of pick-ups; without any, their quantiles are None.
    - `mixed`: some pick-ups are from before the last change of the intervals.
    - `tick_p95_s`: duration of a tick that claims, with its dispatch; None without such a tick.
    """

    rows: int
    overhead_p50_s: float
    overhead_p95_s: float
    pickups: int
    mixed: bool
    pickup_p50_s: float | None
    pickup_p95_s: float | None
    tick_p95_s: float | None


def read_pickups(database: Database) -> Pickups:
    """Read a sample of the rows that began within `WINDOW`; the cost is bounded for any table."""
    found = _read(database, SAMPLED)
    if found["rows"] < ENOUGH:
        found = max(found, _read(database, RECENT), key=lambda row: int(row["rows"]))
    return Pickups(**found)


def _read(database: Database, source: str) -> Row:
    return database.rows(
        READ.format(source=source),
        window=WINDOW,
        pages=PAGES,
        batches=BATCHES,
        companies=COMPANIES,
        pickups=PICKUPS,
    )[0]


def latency_s(overhead_p95_s: float, poll_s: float) -> float:
    """The p95 of a pick-up: the overhead's p95 plus the wait's, which is uniform in (0, `poll_s`).

    This is a little too long, because both parts are seldom long at once. Against the exact
    distribution of the sum it chose the same interval in 91 of 120 cases, and one step shorter in
    27.
    """
    return overhead_p95_s + P95 * poll_s


def longest_poll_s(overhead_p95_s: float, target_s: float) -> float | None:
    """The longest interval that meets the target, so the fewest ticks; None if none does."""
    meeting = (poll_s for poll_s in POLLS_S if latency_s(overhead_p95_s, poll_s) <= target_s)
    return max(meeting, default=None)
