"""The statements that show, and the operator's few that set; none of them moves a row."""

BATCH_BY_NAME = """
SELECT id, name, blueprint, columns, status, priority, paused, created_at, finished_at,
    (SELECT coalesce(sum(arrived), 0)::int FROM progress p
     WHERE p.batch_id = b.id AND p.position = 0) AS companies, now() AS now
FROM batches b
WHERE name = %(name)s
"""

BATCH_NAMES = "SELECT name FROM batches ORDER BY created_at DESC"

BATCHES = """
SELECT id, name, status, priority, paused, created_at, finished_at, blueprint
FROM batches
WHERE id = ANY(%(batch_ids)s)
ORDER BY created_at, id
"""

# FAILED rows, and those that wait for another attempt after an error.
FAILURES = """
SELECT step_name AS step, error, count(*) AS count
FROM workflow_states
WHERE batch_id = %(batch_id)s AND error IS NOT NULL
GROUP BY step_name, error
ORDER BY count DESC, step_name, error
LIMIT %(limit)s
"""

COMPANY = "SELECT id, key, name, domain, attributes FROM companies WHERE key = %(key)s"

TIMELINE = """
SELECT w.step_name AS step, w.position, w.status, w.attempt, w.created_at, w.available_at,
    w.queued_at, w.started_at, w.finished_at, w.lease_expires_at, w.call_id, w.error,
    coalesce((
        SELECT json_agg(json_build_object(
            'attempt', a.attempt, 'queued_at', a.queued_at, 'started_at', a.started_at,
            'ended_at', a.ended_at, 'call_id', a.call_id, 'error', a.error) ORDER BY a.attempt)
        FROM attempts a
        WHERE a.company_id = w.company_id AND a.step_name = w.step_name
          AND a.batch_id = w.batch_id), '[]') AS attempts
FROM workflow_states w
WHERE w.batch_id = %(batch_id)s AND w.company_id = %(company_id)s
ORDER BY w.position
"""

STEPS = """
SELECT step_name, app_name, function_name, max_attempts, lease_s, start_deadline_s, backoff_s,
    backoff_max_s, max_in_flight, chunk_size, enabled
FROM enrichment_registry
ORDER BY step_name
"""

# {column} is one of the registry's own, as a quoted identifier.
SET_STEP = """
UPDATE enrichment_registry SET {column} = %(value)s WHERE step_name = %(step)s RETURNING step_name
"""

# A step that is there keeps what was tuned: only its place may have moved.
# {columns} and {values} are the settings that its decorator names.
SYNC_STEP = """
INSERT INTO enrichment_registry (step_name, app_name, function_name{columns})
VALUES (%(step_name)s, %(app_name)s, %(function_name)s{values})
ON CONFLICT (step_name) DO UPDATE
SET app_name = excluded.app_name, function_name = excluded.function_name
"""

POLLING = """
SELECT poll_s, idle_s, every_s, latency_target_s, paused, changed_at, ticked_at, now() AS now
FROM polling
"""

SET_POLLING = """
UPDATE polling
SET poll_s = coalesce(%(poll_s)s, poll_s), idle_s = coalesce(%(idle_s)s, idle_s),
    every_s = coalesce(%(every_s)s, every_s), paused = coalesce(%(paused)s, paused),
    latency_target_s = coalesce(%(latency_target_s)s, latency_target_s),
    changed_at = now()
"""

# {results} joins the domain tables of the batch's steps, {fields} names what is read of them.
EXPORT = """
SELECT c.key, c.name, c.domain, c.attributes{fields}
FROM batch_companies m
JOIN companies c ON c.id = m.company_id
{results}
WHERE m.batch_id = %(batch_id)s
ORDER BY c.id
"""
EXPORT_FIELDS = ", {state}.status AS {status_name}, row_to_json({result}.*) AS {result_name}"
EXPORT_JOIN = """
LEFT JOIN workflow_states {state}
    ON {state}.company_id = c.id AND {state}.batch_id = m.batch_id AND {state}.step_name = {step}
LEFT JOIN {table} {result} ON {result}.company_id = c.id AND {state}.status = 'COMPLETED'
"""
