"""The operator's reads of batches and companies. No statement here moves a row."""

from reconciler.contract.sql.conditions import AT_FAULT, LIVE

BATCHES = """
SELECT b.id, b.name, b.status, b.priority, b.paused, b.created_at, b.finished_at, b.blueprint,
    b.steps,
    b.client, b.unapproved,
    (SELECT count(*)::int FROM batches) AS of_all,
    c.spent + c.beyond AS spent, c.reserved, c.most AS cap
FROM batches b
LEFT JOIN caps c ON c.scope = 'batch:' || b.id
ORDER BY b.created_at DESC, b.id DESC
LIMIT %(most)s
"""

# Null for a batch that has neither bought anything nor a cap.
MONEY = """
SELECT c.spent + c.beyond AS spent, c.reserved, c.most AS cap
FROM (SELECT) AS always
LEFT JOIN caps c ON c.scope = 'batch:' || %(batch_id)s::int
"""

HELD = """
SELECT step_name AS step, kind, reason AS why FROM holds WHERE step_name = ANY(%(steps)s)
ORDER BY step_name
"""

# The errors of a batch's rows by text, the most frequent first; equally frequent ones in any order.
# A state is "failed" (FAILED), "retrying" (another attempt follows) or "waiting" (no spawn).
# `of_state` is the number of rows of all texts of the state. `names` are those of one company with
# that text.
ERRORS = f"""
WITH texts AS (
    SELECT step_name AS step, error_kind, left(error, %(read)s) COLLATE "C" AS error,
        CASE WHEN status = 'FAILED' THEN 'failed'
            WHEN error_kind = ANY(%(not_spawned)s) THEN 'waiting' ELSE 'retrying' END AS state,
        count(*) AS rows, min(available_at) FILTER (WHERE status = 'PENDING') AS available_at,
        min(company_id) AS company_id
    FROM workflow_states
    WHERE batch_id = %(batch_id)s AND {AT_FAULT}
    GROUP BY 1, 2, 3, 4
)
SELECT t.step, t.error_kind, t.error, t.state, t.rows::int AS count, t.available_at,
    a.rows::int AS of_state,
    ARRAY(SELECT unnest(ARRAY[c.name, c.domain, c.key]) FROM companies c
          WHERE c.id = t.company_id) AS names
FROM texts t
JOIN (SELECT step, state, sum(rows) AS rows FROM texts GROUP BY step, state) a USING (step, state)
ORDER BY t.rows DESC, hashtext(t.error)
LIMIT %(most)s
"""

# The rows in flight for longest: since their begin, or else since their claim. A row whose lease
# has ended is `over`, and waits for the next tick.
SLOWEST = """
SELECT c.key AS company, w.step, w.status, w.attempt, w.since, w.call_id,
    w.lease_expires_at <= now() AS over,
    extract(epoch FROM now() - w.since)::float8 AS seconds
FROM (
    SELECT company_id, step_name AS step, status, attempt, call_id, lease_expires_at,
        coalesce(started_at, queued_at) AS since
    FROM workflow_states
    WHERE batch_id = %(batch_id)s AND status IN ('QUEUED', 'IN_PROGRESS')
    ORDER BY since, company_id
    LIMIT %(most)s
) w
JOIN companies c ON c.id = w.company_id
ORDER BY w.since, c.key
"""

TICKS = """
SELECT at, duration_ms, retried, failed, advanced, claimed, spawned, released, unknown,
    calls_cancelled, finished
FROM ticks
ORDER BY at DESC
LIMIT %(most)s
"""

COMPANY = "SELECT id, key, name, domain, attributes FROM companies WHERE key = %(key)s"

TIMELINE = """
SELECT b.name AS batch, w.step_name AS step, w.position, w.status, w.attempt, w.forgiven,
    w.created_at, w.available_at, w.queued_at, w.started_at, w.finished_at, w.lease_expires_at,
    w.call_id, w.error, w.error_kind, now() AS now,
    coalesce((
        SELECT json_agg(json_build_object(
            'attempt', a.attempt, 'queued_at', a.queued_at, 'started_at', a.started_at,
            'ended_at', a.ended_at, 'call_id', a.call_id, 'error', a.error,
            'error_kind', a.error_kind) ORDER BY a.attempt)
        FROM attempts a
        WHERE a.company_id = w.company_id AND a.step_name = w.step_name
          AND a.batch_id = w.batch_id), '[]') AS attempts
FROM workflow_states w
JOIN batches b ON b.id = w.batch_id
WHERE w.company_id = %(company_id)s AND (%(batch_id)s::int IS NULL OR w.batch_id = %(batch_id)s)
ORDER BY b.created_at, b.id, w.position
"""

# The orders of a company whose answers the results of its steps were read from.
BOUGHT = f"""
SELECT DISTINCT ON (step_name, batch_id) step_name, batch_id, id AS order, provider, price, charged,
    answered_at
FROM orders
WHERE company_id = %(company_id)s AND {LIVE} AND answered_at IS NOT NULL
ORDER BY step_name, batch_id, made_at DESC
"""

# {table} is a step's domain table. It has one row per company: the newest that found something.
RESULT = """
SELECT {step} AS step, {name} AS table, row_to_json(r.*) AS row
FROM {table} r
WHERE r.company_id = %(company_id)s
"""
# The batch is null if it is deleted, or not known.
HISTORY = """
SELECT s.table_name, b.name AS batch, s.version, s.written_at, s.superseded_at, s.result
FROM results.superseded s
LEFT JOIN batches b ON b.id = s.batch_id
WHERE s.company_id = %(company_id)s
ORDER BY s.written_at DESC, s.superseded_at DESC
"""
NAMES = "SELECT id, name FROM batches WHERE %(ids)s::int[] IS NULL OR id = ANY(%(ids)s)"
EXISTING_TABLES = """
SELECT name FROM unnest(%(names)s::text[]) AS named (name) WHERE to_regclass(name) IS NOT NULL
"""
