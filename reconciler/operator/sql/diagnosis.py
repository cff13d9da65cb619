"""The reads of `tracer explain`. No statement here moves a row."""

from reconciler.contract.sql.claim import LEVELS, NOT_IN_FLIGHT
from reconciler.contract.sql.conditions import NEXT_PLACE, OPEN, TO_ADVANCE

# Both statements read one snapshot, so that their answers agree.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# A company's newest row in a batch, with all facts that can hold it.
EXPLAIN = f"""
SELECT w.step_name AS step, w.position + 1 AS number, jsonb_array_length(b.steps) AS steps,
    b.steps ->> ({NEXT_PLACE.format(row="w")}) AS next_step, w.in_waterfall,
    w.status, w.attempt, w.forgiven, w.losses, w.available_at, w.queued_at, w.started_at,
    w.lease_expires_at, w.finished_at, w.call_id, w.error, w.error_kind, w.company_id, c.key,
    w.batch_id,
    b.name AS batch, b.status AS batch_status, b.paused AS batch_paused, b.priority,
    b.client,
    r.app_name AS app, r.function_name AS function, r.enabled, r.max_attempts, r.max_in_flight,
    r.lease_s, t.held_until, t.allowance, t.reason AS held_because,
    h.kind AS hold_kind, h.reason AS hold_reason, f.in_flight, f.waiting,
    (SELECT count(*) FROM workflow_states f
     WHERE f.step_name = w.step_name AND f.lease_expires_at <= now()) AS expired,
    (SELECT o.name FROM workflow_states f JOIN batches o ON o.id = f.batch_id
     WHERE f.company_id = w.company_id AND f.step_name = w.step_name AND f.batch_id <> w.batch_id
       AND f.status IN ('QUEUED', 'IN_PROGRESS')) AS working_batch,
    r.provider, r.price, r.bulk,
    (SELECT send_at FROM orders
     WHERE w.status IN ('QUEUED', 'IN_PROGRESS') AND orders.company_id = w.company_id
       AND orders.step_name = w.step_name AND {OPEN} AND for_batch = w.batch_id
       AND for_attempt = w.attempt LIMIT 1) AS send_at,
    (SELECT coalesce(o.name, '') FROM orders u LEFT JOIN batches o ON o.id = u.batch_id
     WHERE u.id = w.reused) AS reused_from,
    (SELECT answered_at FROM orders u WHERE u.id = w.reused) AS reused_at,
    lost.id AS lost_order, lost.sent_at AS lost_at,
    p.paused AS polling_paused, p.ticked_at, p.poll_s, p.idle_s, now() AS now
FROM workflow_states w
JOIN batches b ON b.id = w.batch_id
JOIN companies c ON c.id = w.company_id
LEFT JOIN enrichment_registry r ON r.step_name = w.step_name
LEFT JOIN throttles t ON t.step_name = w.step_name
LEFT JOIN holds h ON h.step_name = w.step_name
LEFT JOIN polling p ON true
LEFT JOIN LATERAL (
    SELECT id, sent_at FROM orders
    WHERE w.error_kind = 'may_be_charged' AND orders.company_id = w.company_id
      AND orders.step_name = w.step_name AND {OPEN} AND sent_at IS NOT NULL
    LIMIT 1
) lost ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS in_flight, count(*) FILTER (
        WHERE f.status = 'QUEUED' AND f.queued_at < now() - interval '5 seconds') AS waiting
    FROM workflow_states f
    WHERE f.step_name = w.step_name AND f.status IN ('QUEUED', 'IN_PROGRESS')
) f
WHERE w.batch_id = %(batch_id)s AND c.key = %(key)s
ORDER BY w.position DESC
LIMIT 1
"""

# When the first of the rows goes out that may not be claimed yet; null if there is none.
LATER = """
SELECT min(w.available_at) AS at, now() AS now
FROM batches b
CROSS JOIN LATERAL jsonb_array_elements_text(b.steps) AS s (step)
CROSS JOIN LATERAL (
    SELECT available_at FROM workflow_states
    WHERE status = 'PENDING' AND batch_id = b.id AND step_name = s.step AND available_at > now()
    ORDER BY available_at
    LIMIT 1
) w
WHERE b.id = ANY(%(batch_ids)s)
"""

# A row's place in the next claim of its step. Counts stop at `counted`: a backlog may have millions
# of rows. `rival` is a batch whose row of the same company would be taken instead.
NEXT_CLAIM = f"""
WITH RECURSIVE {LEVELS.format(most="NULL")}, in_line AS (
    SELECT batch_id, free, room, depth, mark,
        coalesce(sum(depth) OVER (ORDER BY priority DESC
            GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS higher,
        max(priority) OVER () AS highest,
        count(*) OVER (PARTITION BY priority) AS sharing,
        room - sum(least(depth, mark)) OVER (PARTITION BY priority) AS spare
    FROM whole
    WHERE step_name = %(step)s
), ahead AS (
    SELECT FROM workflow_states w
    WHERE w.status = 'PENDING' AND w.batch_id = %(batch_id)s AND w.step_name = %(step)s
      AND w.available_at <= %(now)s
      AND (w.available_at, w.company_id) < (%(available_at)s, %(company_id)s)
      AND {NOT_IN_FLIGHT}
    ORDER BY w.available_at, w.company_id
    LIMIT %(counted)s
), arriving AS (
    SELECT FROM batches b
    CROSS JOIN LATERAL (
        SELECT FROM workflow_states w
        WHERE w.batch_id = b.id AND {TO_ADVANCE}
          AND b.steps ->> ({NEXT_PLACE.format(row="w")}) = %(step)s
        ORDER BY w.batch_id, w.company_id
        LIMIT %(counted)s
    ) w
    WHERE b.status = 'RUNNING' AND b.steps ? %(step)s
    LIMIT %(counted)s
)
SELECT coalesce(t.free, 0) AS free, coalesce(t.room, 0)::int AS room,
    coalesce(t.mark, 0)::int AS mark, coalesce(t.spare, 0)::int AS spare,
    coalesce(t.higher, 0)::int AS higher, coalesce(t.highest, 0) AS highest,
    coalesce(t.sharing, 0) AS sharing,
    (SELECT count(*) FROM ahead) AS ahead, (SELECT count(*) FROM arriving) AS arriving,
    (SELECT b.name FROM workflow_states o
     JOIN batches b ON b.id = o.batch_id AND b.status = 'RUNNING' AND NOT b.paused
     WHERE o.company_id = %(company_id)s AND o.step_name = %(step)s AND o.status = 'PENDING'
       AND o.available_at <= %(now)s
       AND (-b.priority, b.id) < (-%(priority)s, %(batch_id)s)
     ORDER BY -b.priority, b.id LIMIT 1) AS rival
FROM (SELECT) AS always
LEFT JOIN in_line t ON t.batch_id = %(batch_id)s
"""
