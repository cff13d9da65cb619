"""The intervals that a pick-up latency needs, read from how long pick-ups took lately.

A row that could be claimed waits for the next tick, and then for its begin: the tick itself, the
dispatch, the start of the call. Of these, the interval decides the wait alone; the rest is called
the overhead.
"""

from dataclasses import dataclass
from datetime import timedelta

from reconciler.contract.database import Database, Row

WINDOW = timedelta(hours=1)  # what counts as lately
PAGES = 300  # of about 65 rows each: 20,000 are looked at
ENOUGH = 200  # rows; of fewer, the newest batches are read
BATCHES, COMPANIES = 20, 100  # of those, and in each
PICKUPS = 1000  # each is one more look-up by key

P95 = 0.95
POLLS_S = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0)
# A run is followed by the next without a gap, so the schedule does not enter the latency, and a
# longer one saves starts of 5 to 8 CPU seconds each. But a loop that has died is replaced by the
# next run alone, and ten minutes are long enough for that.
EVERY_S = 600.0

# The table has no index by time, and must not be read as a whole: rows of the last hour are looked
# for in a bounded number of pages, and where those are few beside the rest, in the newest batches.

# Percent of the pages, since a share of the rows would trust statistics that may be missing.
SAMPLED = """
workflow_states w TABLESAMPLE SYSTEM (
    (SELECT least(100, 100.0 * %(pages)s * current_setting('block_size')::int
                  / greatest(1, pg_relation_size('workflow_states')))))
"""

# Of each batch in which something moved lately, companies at even distances of their ids, by index
# alone. A LIMIT keeps the rows from being joined by a scan of their table.
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

# The overhead is from the clock of the tick that claimed a row to its begin; a pick-up, from the
# end of a company's step to the begin of its next one, where that took one attempt.
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
    JOIN batches b ON b.id = s.batch_id
    CROSS JOIN polling p
    CROSS JOIN LATERAL (
        SELECT finished_at FROM workflow_states
        WHERE company_id = s.company_id AND step_name = b.blueprint ->> (s.position - 1)
          AND batch_id = s.batch_id
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
    """How `rows` rows were begun within `WINDOW`, and what `pickups` of them took, in seconds.

    `mixed` says that some are from before the intervals were last changed. `tick_p95_s` is how long
    a tick that claims takes, to the end of its dispatch. Without rows, the overhead is 0 and
    the other times are None.
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
    """Read a sample of the rows that were begun within `WINDOW`; its cost has an upper bound."""
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
    """Within what time 95 % of the pick-ups begin: the wait is uniform in (0, `poll_s`).

    Both parts are seldom long at once, so this is rather too long. Against the exact distribution
    of the sum it chose the same interval in 91 of 120 cases, and one step shorter in 27.
    """
    return overhead_p95_s + P95 * poll_s


def longest_poll_s(overhead_p95_s: float, target_s: float) -> float | None:
    """The interval with the fewest ticks that meets the target; None where none does."""
    meeting = (poll_s for poll_s in POLLS_S if latency_s(overhead_p95_s, poll_s) <= target_s)
    return max(meeting, default=None)
