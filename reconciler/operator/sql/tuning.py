"""The statements of `tracer interval tune`: how long pick-ups took lately. They move no row.

The table has no index by time, and must not be read as a whole: rows of the last hour are looked
for in a bounded number of pages, and where those are few beside the rest, in the newest batches.
"""

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

# `overheads`: from the clock of the tick that claimed a row to its begin, as quantiles. `pickups`:
# from the end of a company's step to the begin of its next one, where that took one attempt, with
# the overheads of these rows alone; `mixed` says that some are from before the intervals were
# last changed.
PICKUPS = """
WITH begun AS MATERIALIZED (
    SELECT w.company_id, w.batch_id, w.position, w.attempt, w.started_at,
        extract(epoch FROM w.started_at - w.queued_at)::float8 AS overhead_s
    FROM {source}
    WHERE w.started_at > now() - %(window)s
), picked AS (
    SELECT extract(epoch FROM s.started_at - done.finished_at)::float8 AS took_s, s.overhead_s,
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
        percentile_cont(%(shares)s::float8[]) WITHIN GROUP (ORDER BY overhead_s) AS overheads
    FROM begun) o
CROSS JOIN (
    SELECT count(*) AS pickups, coalesce(bool_or(earlier), false) AS mixed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS pickup_p50_s,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY took_s) AS pickup_p95_s,
        percentile_cont(%(shares)s::float8[]) WITHIN GROUP (ORDER BY overhead_s)
            AS pickup_overheads
    FROM picked) p
"""

# The ticks that claimed something: until the dispatch was written down.
TICKS = """
SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) / 1000 AS tick_p95_s
FROM ticks
WHERE at > now() - %(window)s AND claimed > 0
"""

NOTHING = "SELECT now() AS now"
