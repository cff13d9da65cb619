"""The operator's statements about providers: their limits and pauses, and what waits for them."""

from reconciler.contract.limits import HORIZON_S

LOCK = """
SELECT windows, max_concurrent, burst, keep_for_s, learned_rate, ceiling
FROM providers
WHERE name = %(name)s
FOR UPDATE
"""
# {columns} are those that change, with their values.
SET = """
UPDATE providers SET {columns}
WHERE name = %(name)s
RETURNING windows, max_concurrent, burst, keep_for_s, learned_rate
"""
# pause, by an operator: nothing of it is claimed until somebody resumes it
PAUSE = """
UPDATE providers SET paused_until = 'infinity', pause_kind = 'operator', paused_why = %(why)s
WHERE name = %(name)s
"""
# resume: whatever had paused it is over
# What a pause has made of `next_at` is taken back. One that is near is that of calls which were
# claimed before: without it, twice as many might go out.
RESUME = f"""
UPDATE providers
SET paused_until = NULL, pause_kind = NULL, paused_why = NULL, failures = 0,
    next_at = CASE WHEN next_at <= clock_timestamp() + interval '{HORIZON_S:g} seconds'
        THEN next_at END
WHERE name = %(name)s
"""

# How many rows of running batches wait for each provider, up to `counted`: PENDING, and available.
WAITING = """
SELECT r.provider, least(sum(found.rows), %(counted)s)::int AS rows
FROM enrichment_registry r
CROSS JOIN LATERAL (
    SELECT count(*) AS rows
    FROM (SELECT FROM batches b
          CROSS JOIN LATERAL (
              SELECT FROM workflow_states w
              WHERE w.status = 'PENDING' AND w.batch_id = b.id AND w.step_name = r.step_name
                AND w.available_at <= now()
              LIMIT %(counted)s
          ) w
          WHERE b.status = 'RUNNING' AND NOT b.paused AND b.steps ? r.step_name
          LIMIT %(counted)s) AS waiting
) AS found
WHERE r.provider IS NOT NULL AND r.enabled
GROUP BY r.provider
"""
