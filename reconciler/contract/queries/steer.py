"""The operator's statements that move rows, each headed by its edge, and what explains a row."""

from reconciler.contract.queries.progress import log

# The batch goes first, in a statement of its own: an advance of its rows that is under way holds
# it, so that what that one seeds is seen by the statement after this.
CANCEL_BATCH = """
UPDATE batches SET status = 'CANCELLED', finished_at = now()
WHERE id = %(batch_id)s AND status = 'RUNNING'
"""

# A completed row of a cancelled batch has no successor.
CANCEL_ADVANCE = f"""
WITH advanced AS (
    UPDATE workflow_states SET advanced = true
    WHERE batch_id = %(batch_id)s AND status = 'COMPLETED' AND NOT advanced
    RETURNING batch_id, position
)
{log("SELECT batch_id, position, now(), 0, count(*) FROM advanced GROUP BY batch_id, position")}
"""

# cancel: PENDING, QUEUED, IN_PROGRESS -> CANCELLED
CANCEL = """
UPDATE workflow_states
SET status = 'CANCELLED', finished_at = now(), lease_expires_at = NULL
WHERE batch_id = %(batch_id)s AND status IN ('PENDING', 'QUEUED', 'IN_PROGRESS')
"""

# A batch that had finished runs again. It goes first here too, since `finish` looks for it.
REOPEN_BATCH = """
UPDATE batches SET status = 'RUNNING', finished_at = NULL
WHERE id = %(batch_id)s AND status <> 'CANCELLED'
"""

_FAILED = """
batch_id = %(batch_id)s AND status = 'FAILED'
    AND (%(step)s::text IS NULL OR step_name = %(step)s)
    AND (%(error)s::text IS NULL OR strpos(error, %(error)s) > 0)
"""
COUNT_FAILED = f"SELECT count(*) AS rows FROM workflow_states WHERE {_FAILED}"

# retry: FAILED -> PENDING, with all its attempts before it; the attempt that failed is kept
RETRY = f"""
WITH failed AS (
    SELECT company_id, step_name, batch_id, attempt, queued_at, started_at, finished_at, call_id,
        error
    FROM workflow_states
    WHERE {_FAILED}
    FOR UPDATE
), moved AS (
    UPDATE workflow_states w
    SET status = 'PENDING', forgiven = w.attempt, available_at = now(), finished_at = NULL,
        error = NULL
    FROM failed f
    WHERE w.company_id = f.company_id AND w.step_name = f.step_name AND w.batch_id = f.batch_id
    RETURNING f.*
), kept AS (
    INSERT INTO attempts (company_id, step_name, batch_id, attempt, queued_at, started_at,
        ended_at, call_id, error)
    SELECT * FROM moved
    ON CONFLICT (company_id, step_name, batch_id, attempt) DO NOTHING
)
SELECT count(*) AS rows FROM moved
"""

PAUSE = "UPDATE batches SET paused = %(paused)s WHERE id = %(batch_id)s AND status = 'RUNNING'"

# A company's newest row in a batch, with everything that can keep it there.
EXPLAIN = """
SELECT w.step_name AS step, w.status, w.attempt, w.available_at, w.queued_at, w.started_at,
    w.lease_expires_at, w.finished_at, w.call_id, w.error,
    b.name AS batch, w.position + 1 >= jsonb_array_length(b.blueprint) AS last,
    b.status AS batch_status, b.paused AS batch_paused,
    r.enabled, r.max_attempts, r.max_in_flight,
    t.held_until, t.allowance, t.reason AS held_because,
    (SELECT count(*) FROM workflow_states f
     WHERE f.step_name = w.step_name AND f.status IN ('QUEUED', 'IN_PROGRESS')) AS in_flight,
    (SELECT o.name FROM workflow_states f JOIN batches o ON o.id = f.batch_id
     WHERE f.company_id = w.company_id AND f.step_name = w.step_name AND f.batch_id <> w.batch_id
       AND f.status IN ('QUEUED', 'IN_PROGRESS')) AS working_batch,
    p.paused AS polling_paused, p.ticked_at, p.idle_s, now() AS now
FROM workflow_states w
JOIN batches b ON b.id = w.batch_id
JOIN companies c ON c.id = w.company_id
LEFT JOIN enrichment_registry r ON r.step_name = w.step_name
LEFT JOIN throttles t ON t.step_name = w.step_name
CROSS JOIN polling p
WHERE w.batch_id = %(batch_id)s AND c.key = %(key)s
ORDER BY w.position DESC
LIMIT 1
"""
