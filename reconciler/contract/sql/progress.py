"""The log of rows that arrived at each step of a batch, and ended there to go on, and its sums.

Each statement that moves rows in or on adds its counts to the log. So the progress of ten million
rows is a sum of few entries, and takes milliseconds. Rows in flight, failed, or ended since the
last tick are counted by their partial indexes.
"""

from reconciler.contract.sql.conditions import TO_ADVANCE

# The counts of rows with `status`, as the log has them.
BY_STATUS = """
count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'NOT_FOUND') AS not_found,
    count(*) FILTER (WHERE status = 'SKIPPED') AS skipped
"""


def log(source: str) -> str:
    """Add to the log: `source` selects batch_id, position, at, arrived and `BY_STATUS`."""
    return f"""
INSERT INTO progress (batch_id, position, at, arrived, completed, not_found, skipped)
{source}
ON CONFLICT (batch_id, position, at) DO UPDATE
SET arrived = progress.arrived + excluded.arrived,
    completed = progress.completed + excluded.completed,
    not_found = progress.not_found + excluded.not_found,
    skipped = progress.skipped + excluded.skipped
"""


# So many companies of a batch arrive at its first step.
LOG_SEEDED = log("SELECT %(batch_id)s::int, 0, now(), %(rows)s::int, 0, 0, 0")

# Of these batches, or of all if there are no ids. `done` is the sum of `completed`, `not_found` and
# `skipped`. `landed`: those that the next tick takes on. `waiting`: rows that are QUEUED and
# have no call id. These are local calls, which wait for a process of the worker host. `not_asked`:
# companies that an earlier member of the waterfall has found.
COUNTS = f"""
WITH logged AS (
    SELECT batch_id, position, sum(arrived) AS arrived, sum(completed) AS completed,
        sum(not_found) AS not_found, sum(skipped) AS skipped,
        sum(completed + not_found + skipped) AS done
    FROM progress
    WHERE %(batch_ids)s::int[] IS NULL OR batch_id = ANY(%(batch_ids)s)
    GROUP BY batch_id, position
), in_flight AS (
    SELECT batch_id, step_name, count(*) FILTER (WHERE status = 'QUEUED') AS queued,
        count(*) FILTER (WHERE status = 'IN_PROGRESS') AS in_progress,
        count(*) FILTER (WHERE status = 'QUEUED' AND call_id IS NULL) AS waiting
    FROM workflow_states
    WHERE status IN ('QUEUED', 'IN_PROGRESS')
      AND (%(batch_ids)s::int[] IS NULL OR batch_id = ANY(%(batch_ids)s))
    GROUP BY batch_id, step_name
), failed AS (
    SELECT batch_id, step_name, count(*) AS failed
    FROM workflow_states
    WHERE status = 'FAILED' AND (%(batch_ids)s::int[] IS NULL OR batch_id = ANY(%(batch_ids)s))
    GROUP BY batch_id, step_name
), landed AS (
    SELECT batch_id, step_name, count(*) FILTER (WHERE status <> 'FAILED') AS landed, {BY_STATUS}
    FROM workflow_states
    WHERE {TO_ADVANCE}
      AND (%(batch_ids)s::int[] IS NULL OR batch_id = ANY(%(batch_ids)s))
    GROUP BY batch_id, step_name
)
SELECT b.id AS batch_id, s.step, coalesce(l.arrived, 0)::int AS arrived,
    (coalesce(l.completed, 0) + coalesce(d.completed, 0))::int AS completed,
    (coalesce(l.not_found, 0) + coalesce(d.not_found, 0))::int AS not_found,
    (coalesce(l.skipped, 0) + coalesce(d.skipped, 0))::int AS skipped,
    (coalesce(l.done, 0) + coalesce(d.landed, 0))::int AS done,
    coalesce(d.landed, 0)::int AS landed, coalesce(f.waiting, 0)::int AS waiting,
    coalesce(f.queued, 0)::int AS queued, coalesce(f.in_progress, 0)::int AS in_progress,
    coalesce(x.failed, 0)::int AS failed, b.status = 'CANCELLED' AS cancelled,
    (b.past ->> s.place)::int AS past,
    (CASE WHEN (b.past ->> s.place) IS NOT NULL THEN greatest(0, least(
        coalesce(sum(l.completed) OVER (
            PARTITION BY b.id, b.past ->> s.place ORDER BY s.place
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
        first_value(l.arrived) OVER (PARTITION BY b.id ORDER BY s.place)
            - coalesce(l.arrived, 0))) ELSE 0 END)::int AS not_asked
FROM batches b
CROSS JOIN LATERAL (
    SELECT step, number::int - 1 AS place
    FROM jsonb_array_elements_text(b.steps) WITH ORDINALITY AS named (step, number)) s
LEFT JOIN logged l ON (l.batch_id, l.position) = (b.id, s.place)
LEFT JOIN in_flight f ON (f.batch_id, f.step_name) = (b.id, s.step)
LEFT JOIN failed x ON (x.batch_id, x.step_name) = (b.id, s.step)
LEFT JOIN landed d ON (d.batch_id, d.step_name) = (b.id, s.step)
WHERE %(batch_ids)s::int[] IS NULL OR b.id = ANY(%(batch_ids)s)
ORDER BY b.created_at, b.id, s.place
"""

# The newest log entries of each step of a batch, with their age in seconds. Entries of the last
# hour are not summed yet.
RECENT = """
SELECT p.position, extract(epoch FROM now() - p.at)::float8 AS ago, p.arrived,
    p.completed + p.not_found + p.skipped AS done
FROM batches b
CROSS JOIN LATERAL generate_series(0, jsonb_array_length(b.steps) - 1) AS s (position)
CROSS JOIN LATERAL (
    SELECT position, at, arrived, completed, not_found, skipped
    FROM progress
    WHERE batch_id = b.id AND position = s.position AND at > now() - %(by_the_second)s
    ORDER BY at DESC
    LIMIT %(most)s
) p
WHERE b.id = %(batch_id)s
"""

# The working time of a batch in seconds: from the first row that ended to the last. A pause counts
# as one usual span between entries. `first` is the time of the first entry.
ACTIVE = """
WITH spans AS (
    SELECT at, extract(epoch FROM at - lag(at) OVER (ORDER BY at))::float8 AS s
    FROM (SELECT DISTINCT at FROM progress
          WHERE batch_id = %(batch_id)s AND completed + not_found + skipped > 0) m
), usual AS (
    SELECT min(at) AS first, percentile_disc(0.5) WITHIN GROUP (ORDER BY s) AS s FROM spans
)
SELECT u.first, u.s AS usual_s,
    coalesce(sum(CASE WHEN spans.s > greatest(10 * u.s, %(pause_s)s) THEN u.s ELSE spans.s END), 0)
        AS active_s
FROM usual u
LEFT JOIN spans ON true
GROUP BY u.first, u.s
"""

# Per step with rows in backoff: the seconds until its last one may be claimed.
RETRIES = """
SELECT s.step, extract(epoch FROM w.available_at - now())::float8 AS retry_s
FROM batches b
CROSS JOIN LATERAL jsonb_array_elements_text(b.steps) AS s (step)
CROSS JOIN LATERAL (
    SELECT available_at FROM workflow_states
    WHERE status = 'PENDING' AND batch_id = b.id AND step_name = s.step
    ORDER BY available_at DESC
    LIMIT 1
) w
WHERE b.id = %(batch_id)s AND w.available_at > now()
"""
