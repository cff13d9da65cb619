"""The claim: shares the steps' capacity among the batches; one conductor claims at a time."""

from reconciler.contract.sql.conditions import NOT_HELD

# Two conductors that count the rows in flight at the same time would both use the same capacity:
# eight of them with a max_in_flight of 500 put 4,000 rows in flight. The lock is a separate
# statement because it must come before the claim's snapshot.
CLAIM_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.claim'))"

# No other batch has the same step of the same company in flight. A scalar subquery, because
# NOT EXISTS may be planned as a join. With statistics from before the batch began, that join was a
# nested loop over all rows in flight: 95 million comparisons and 13 s for a claim of 20,000 rows,
# instead of less than 1 s.
NOT_IN_FLIGHT = """(SELECT true FROM workflow_states other
                   WHERE other.company_id = w.company_id AND other.step_name = w.step_name
                     AND other.status IN ('QUEUED', 'IN_PROGRESS')) IS NULL"""

# Counts the claimable rows of a batch and step, up to `reach`. It counts from the end of the index
# that no claim has reached. While an old snapshot is held, the other end is full of dead entries.
_DEPTH = f"""
SELECT count(*) AS depth
FROM (
    SELECT FROM workflow_states w
    WHERE w.status = 'PENDING' AND w.batch_id = s.batch_id AND w.step_name = s.step_name
      AND w.available_at <= %(now)s
      AND {NOT_IN_FLIGHT}
    ORDER BY w.available_at DESC, w.company_id DESC
    LIMIT {{reach}}
) AS available
"""

# Each batch's level at each step: see CLAIM. `tracer explain` reads it too.
# The level depends on each batch's depth (its number of claimable rows). To count 50 batches up to
# a capacity of 10,000 would read 500,000 rows. So each batch is counted up to an equal share first.
# Batches that have more are counted twice as far, again and again, until the capacity is met.
LEVELS = f"""in_flight AS (
    SELECT step_name, count(*) AS rows
    FROM workflow_states
    WHERE status IN ('QUEUED', 'IN_PROGRESS')
    GROUP BY step_name
), capacity AS (
    SELECT r.step_name, least(r.max_in_flight - coalesce(f.rows, 0), t.allowance, %(limit)s, o.rows)
        AS free
    FROM enrichment_registry r
    LEFT JOIN in_flight f USING (step_name)
    LEFT JOIN throttles t USING (step_name)
    LEFT JOIN unnest(%(room_steps)s::text[], %(room_rows)s::int[]) AS o (step_name, rows)
        USING (step_name)
    WHERE r.enabled AND r.max_in_flight > coalesce(f.rows, 0)
      AND (t.held_until IS NULL OR t.held_until <= %(now)s)
      AND {NOT_HELD.format(step="r.step_name")}
), sharing AS (
    SELECT s.step_name, s.free, b.id AS batch_id, b.priority,
        (s.free + count(*) OVER of_step - 1) / count(*) OVER of_step AS reach
    FROM capacity s
    JOIN batches b ON b.status = 'RUNNING' AND NOT b.paused AND b.blueprint ? s.step_name
    WINDOW of_step AS (PARTITION BY s.step_name)
), counted AS (
    SELECT s.*, d.depth
    FROM sharing s
    CROSS JOIN LATERAL ({_DEPTH.format(reach="s.reach")}) d
UNION ALL
    SELECT s.step_name, s.free, s.batch_id, s.priority, least(s.free, 2 * s.reach),
        CASE WHEN s.more THEN ({_DEPTH.format(reach="least(s.free, 2 * s.reach)")}) ELSE s.depth END
    FROM (SELECT *, bool_or(more) OVER (PARTITION BY step_name) AS again
          FROM (SELECT *, depth = reach AND free > sum(depth) OVER (
                    PARTITION BY step_name ORDER BY priority DESC) AS more
                FROM counted) AS so_far) AS s
    WHERE s.again
), backlog AS (
    SELECT DISTINCT ON (step_name, batch_id) step_name, free, batch_id, priority, depth
    FROM counted
    WHERE depth > 0
    ORDER BY step_name, batch_id, reach DESC
), tier AS (
    SELECT *, greatest(0, free - coalesce(sum(depth) OVER (
        PARTITION BY step_name ORDER BY priority DESC
        GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)) AS room
    FROM backlog
), filled AS (
    SELECT *,
        (room - coalesce(sum(depth) OVER (shallow ROWS BETWEEN UNBOUNDED PRECEDING
                                                           AND 1 PRECEDING), 0))
        / (count(*) OVER (PARTITION BY step_name, priority) - row_number() OVER shallow + 1)
        AS level
    FROM tier
    WINDOW shallow AS (PARTITION BY step_name, priority ORDER BY depth, batch_id)
), whole AS (
    SELECT *, floor(max(level) OVER (PARTITION BY step_name, priority)) AS mark
    FROM filled
)"""

# claim: PENDING -> QUEUED
# Shares each step's capacity among its batches (max-min fair). Higher priorities come first. Within
# a priority, each batch gets its rows up to one common level: a small batch is claimed whole beside
# a large one, and no capacity is left over. If the split is uneven, the last rows go to one batch
# each, in an order that changes with every tick. Rows that were lost with a worker are in calls of
# their own, as small as their losses say.
CLAIM = f"""
WITH RECURSIVE {LEVELS}, share AS (
    SELECT step_name, batch_id, priority,
        least(depth, mark) + CASE
            WHEN depth > mark
                AND row_number() OVER (PARTITION BY step_name, priority, depth > mark
                                       ORDER BY md5(batch_id::text || %(now)s::text))
                    <= room - sum(least(depth, mark)) OVER (PARTITION BY step_name, priority)
            THEN 1 ELSE 0 END AS rows
    FROM whole
), picked AS (
    SELECT s.step_name, s.batch_id, s.priority, w.company_id, w.ctid
    FROM share s
    CROSS JOIN LATERAL (
        SELECT w.company_id, w.ctid
        FROM workflow_states w
        WHERE w.status = 'PENDING' AND w.batch_id = s.batch_id AND w.step_name = s.step_name
          AND w.available_at <= %(now)s
          AND {NOT_IN_FLIGHT}
        ORDER BY w.available_at, w.company_id
        LIMIT s.rows
        FOR UPDATE OF w SKIP LOCKED
    ) w
), chosen AS (
    SELECT DISTINCT ON (step_name, company_id) ctid
    FROM picked
    ORDER BY step_name, company_id, priority DESC, batch_id
), claimed AS (
    UPDATE workflow_states w
    SET status = 'QUEUED', attempt = w.attempt + 1, queued_at = %(now)s, started_at = NULL,
        lease_expires_at = %(now)s + make_interval(secs => r.start_deadline_s),
        call_id = NULL, holder = %(holder)s, error = NULL, error_kind = NULL
    FROM enrichment_registry r
    WHERE w.ctid = ANY(ARRAY(SELECT ctid FROM chosen)) AND r.step_name = w.step_name
    RETURNING w.company_id, w.step_name, w.batch_id, w.attempt,
        least(w.losses, cardinality(%(group_sizes)s::int[])) AS losses
), numbered AS (
    SELECT c.*,
        (row_number() OVER (PARTITION BY step_name, losses ORDER BY batch_id, company_id) - 1)
        / least(r.chunk_size, (%(group_sizes)s::int[])[losses]) AS chunk
    FROM claimed c
    JOIN enrichment_registry r USING (step_name)
), chunks AS (
    SELECT step_name, losses, chunk,
        array_agg(company_id ORDER BY batch_id, company_id) AS company_ids,
        array_agg(batch_id ORDER BY batch_id, company_id) AS batch_ids,
        array_agg(attempt ORDER BY batch_id, company_id) AS attempts
    FROM numbered
    GROUP BY step_name, losses, chunk
)
SELECT step_name, r.app_name, r.function_name, r.chunk_size, r.backoff_s, r.backoff_max_s,
    greatest(r.max_in_flight / r.chunk_size, %(few_calls)s) AS max_waiting,
    t.allowance, coalesce(t.refusals, 0) AS refusals, company_ids, batch_ids, attempts
FROM chunks
JOIN enrichment_registry r USING (step_name)
LEFT JOIN throttles t USING (step_name)
ORDER BY losses, chunk, step_name
"""
