"""The log of what arrives at each step of a batch and what is completed there, and sums of it.

Who moves rows in or on adds what it moved, so that a batch of ten million rows is summed up in
milliseconds and counted by nobody; what is in flight, failed, or completed since the last tick is
counted by its partial index.
"""


def log(source: str) -> str:
    """Add what `source` selects: batch_id, position, at, arrived and completed."""
    return f"""
INSERT INTO progress (batch_id, position, at, arrived, completed)
{source}
ON CONFLICT (batch_id, position, at) DO UPDATE
SET arrived = progress.arrived + excluded.arrived,
    completed = progress.completed + excluded.completed
"""


# What a seeding brings to a batch's first step.
LOG_SEEDED = log(
    "SELECT batch_id, 0, now(), count(*), 0 FROM batch_companies"
    " WHERE batch_id = %(batch_id)s GROUP BY batch_id"
)

# Of one batch, or of all where no id is given.
COUNTS = """
WITH logged AS (
    SELECT batch_id, position, sum(arrived) AS arrived, sum(completed) AS completed,
        coalesce(sum(completed) FILTER (WHERE at > now() - %(window)s), 0) AS recent
    FROM progress
    WHERE %(batch_id)s::int IS NULL OR batch_id = %(batch_id)s
    GROUP BY batch_id, position
), in_flight AS (
    SELECT batch_id, step_name, count(*) FILTER (WHERE status = 'QUEUED') AS queued,
        count(*) FILTER (WHERE status = 'IN_PROGRESS') AS in_progress
    FROM workflow_states
    WHERE status IN ('QUEUED', 'IN_PROGRESS')
      AND (%(batch_id)s::int IS NULL OR batch_id = %(batch_id)s)
    GROUP BY batch_id, step_name
), failed AS (
    SELECT batch_id, step_name, count(*) AS failed
    FROM workflow_states
    WHERE status = 'FAILED' AND (%(batch_id)s::int IS NULL OR batch_id = %(batch_id)s)
    GROUP BY batch_id, step_name
), landed AS (
    SELECT batch_id, step_name, count(*) AS landed
    FROM workflow_states
    WHERE status = 'COMPLETED' AND NOT advanced
      AND (%(batch_id)s::int IS NULL OR batch_id = %(batch_id)s)
    GROUP BY batch_id, step_name
)
SELECT b.id AS batch_id, s.step, coalesce(l.arrived, 0)::int AS arrived,
    (coalesce(l.completed, 0) + coalesce(d.landed, 0))::int AS completed,
    (coalesce(l.recent, 0) + coalesce(d.landed, 0))::int AS recent,
    coalesce(f.queued, 0)::int AS queued, coalesce(f.in_progress, 0)::int AS in_progress,
    coalesce(x.failed, 0)::int AS failed, b.status = 'CANCELLED' AS cancelled
FROM batches b
CROSS JOIN LATERAL jsonb_array_elements_text(b.blueprint) WITH ORDINALITY AS s (step, number)
LEFT JOIN logged l ON (l.batch_id, l.position) = (b.id, s.number - 1)
LEFT JOIN in_flight f ON (f.batch_id, f.step_name) = (b.id, s.step)
LEFT JOIN failed x ON (x.batch_id, x.step_name) = (b.id, s.step)
LEFT JOIN landed d ON (d.batch_id, d.step_name) = (b.id, s.step)
WHERE %(batch_id)s::int IS NULL OR b.id = %(batch_id)s
ORDER BY b.created_at, b.id, s.number
"""
