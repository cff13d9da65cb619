"""The claim: shares the steps' capacity among the batches; one conductor claims at a time."""

from reconciler.contract.limits import HORIZON_S, LEAD_S, REFILL_S
from reconciler.contract.sql.conditions import HAS_ORDERS, NOT_HELD
from reconciler.contract.sql.limits import NOT_OUT

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

# How many orders an amount pays for; null, and so no bound, for a step without a price.
_ORDERS = """CASE WHEN {price} > 0
    THEN greatest(0, least(floor({left} / {price}), %(limit)s))::int END"""
_AFFORDABLE = f"""(
    SELECT {_ORDERS.format(left="min(c.left)", price="r.price")}
    FROM capped c
    WHERE c.scope IN ('all', 'provider:' || r.provider || '/day',
                      'provider:' || r.provider || '/month'))"""
# How many more calls the provider `p` has room for: by its spacing, by the calls that may be under
# way at a time, none while it is paused or its long windows are full. After a fault of its own, one
# call at a time shows whether it is well again. `limits.Provider.take` then gives each its time.
# A window that is full opens early if calls that it was filled with did not go out.
_CLOSED = f"""(p.paused_until > %(now)s OR p.full_until > %(now)s AND (
    SELECT true FROM orders o WHERE o.provider = p.name AND {NOT_OUT} LIMIT 1) IS NULL) IS TRUE"""
_SLOTS = f"""CASE WHEN p.next_at > %(now)s + make_interval(secs => {REFILL_S}) THEN 0
    ELSE floor(extract(epoch FROM %(now)s + make_interval(secs => {HORIZON_S})
            - greatest(p.next_at, %(now)s
                + make_interval(secs => {LEAD_S} - (p.burst - 1) * p.spacing_s)))
        / p.spacing_s) + 1 END"""
_CALLS_FREE = f"""least({_SLOTS},
    CASE WHEN p.failures > 0 THEN 1 ELSE p.max_concurrent END - coalesce(u.calls, 0))"""
# An order of the batches that changes with every tick. The subquery is read once.
_TURN = """
hashint8extended(batch_id, (SELECT (1000 * extract(epoch FROM %(now)s::timestamptz))::bigint))
"""

# Each batch's level at each step: see CLAIM. `tracer explain` reads it too.
# The level depends on each batch's depth (its number of claimable rows). To count 50 batches up to
# a capacity of 10,000 would read 500,000 rows. So each batch is counted up to an equal share first.
# Batches that have more are counted twice as far, again and again, until the capacity is met.
# No more batches with rows are looked for than rows can be claimed, {most}: where there are more,
# each gets one or none. Which ones changes with every tick.
LEVELS = f"""capped AS MATERIALIZED (
    SELECT DISTINCT ON (scope) scope,
        most - CASE WHEN scope LIKE '%%/day' AND since < %(today)s
                OR scope LIKE '%%/month' AND since < date_trunc('month', %(today)s::date)
            THEN 0 ELSE reserved + spent + beyond END AS left
    FROM caps
    WHERE most IS NOT NULL
    ORDER BY scope, since DESC
), of_claim AS (
    SELECT step_name, queued_at, count(*) AS rows
    FROM workflow_states
    WHERE status IN ('QUEUED', 'IN_PROGRESS')
    GROUP BY step_name, queued_at
), in_flight AS (
    SELECT step_name, sum(rows)::bigint AS rows
    FROM of_claim
    GROUP BY step_name
), under_way AS (
    SELECT r.provider AS name, sum(ceil(c.rows::float / coalesce(r.bulk, 1))) AS calls
    FROM of_claim c
    JOIN enrichment_registry r USING (step_name)
    WHERE r.provider IS NOT NULL
    GROUP BY r.provider
), capacity AS (
    SELECT r.step_name, r.price,
        greatest(0, least(r.max_in_flight - coalesce(f.rows, 0), t.allowance, %(limit)s, o.rows,
            {_AFFORDABLE}, {_CALLS_FREE} * coalesce(r.bulk, 1)))::bigint AS free
    FROM enrichment_registry r
    LEFT JOIN in_flight f USING (step_name)
    LEFT JOIN providers p ON p.name = r.provider
    LEFT JOIN under_way u ON u.name = r.provider
    LEFT JOIN throttles t USING (step_name)
    LEFT JOIN unnest(%(room_steps)s::text[], %(room_rows)s::int[]) AS o (step_name, rows)
        USING (step_name)
    WHERE r.enabled AND r.max_in_flight > coalesce(f.rows, 0)
      AND (t.held_until IS NULL OR t.held_until <= %(now)s)
      AND {NOT_HELD.format(step="r.step_name")}
      AND NOT {_CLOSED}
), sharing AS (
    SELECT s.step_name, s.free, b.id AS batch_id, b.priority, least(s.free, a.orders) AS bound,
        least((s.free + count(*) OVER of_step - 1) / count(*) OVER of_step, a.orders) AS reach
    FROM capacity s
    CROSS JOIN batches b
    LEFT JOIN capped c ON c.scope = 'batch:' || b.id
    LEFT JOIN capped k ON k.scope = 'client:' || b.client
    CROSS JOIN LATERAL (
        VALUES ({_ORDERS.format(left="least(c.left, k.left)", price="s.price")})) a (orders)
    WHERE b.status = 'RUNNING' AND NOT b.paused AND b.steps ? s.step_name
    WINDOW of_step AS (PARTITION BY s.step_name)
), counted AS (
    SELECT found.*
    FROM capacity c
    CROSS JOIN LATERAL (
        SELECT s.*, d.depth
        FROM (SELECT * FROM sharing WHERE sharing.step_name = c.step_name
              ORDER BY ((priority::bigint << 32) + ({_TURN} & 4294967295)) DESC OFFSET 0) s
        CROSS JOIN LATERAL ({_DEPTH.format(reach="s.reach")}) d
        WHERE d.depth > 0
        LIMIT {{most}}
    ) found
UNION ALL
    SELECT s.step_name, s.free, s.batch_id, s.priority, s.bound, least(s.bound, 2 * s.reach),
        CASE WHEN s.more THEN ({_DEPTH.format(reach="least(s.bound, 2 * s.reach)")})
            ELSE s.depth END
    FROM (SELECT *, bool_or(more) OVER (PARTITION BY step_name) AS again
          FROM (SELECT *, depth = reach AND reach < bound AND free > sum(depth) OVER (
                    PARTITION BY step_name ORDER BY priority DESC) AS more
                FROM counted) AS so_far) AS s
    WHERE s.again
), backlog AS (
    SELECT DISTINCT ON (step_name, batch_id) step_name, free, batch_id, priority, depth
    FROM counted
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
WITH RECURSIVE {LEVELS.format(most="c.free")}, share AS (
    SELECT step_name, batch_id, priority,
        least(depth, mark) + CASE
            WHEN depth > mark
                AND row_number() OVER (PARTITION BY step_name, priority, depth > mark
                                       ORDER BY {_TURN})
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
    r.provider, r.price, {HAS_ORDERS.format(r="r")} AS has_orders, t.allowance,
    coalesce(t.refusals, 0) AS refusals, company_ids, batch_ids, attempts,
    CASE WHEN {HAS_ORDERS.format(r="r")} THEN (
        SELECT jsonb_object_agg(b.id, b.client) FROM batches b
        WHERE b.id = ANY(batch_ids) AND b.client IS NOT NULL) END AS clients,
    CASE WHEN p.spacing_s IS NOT NULL OR p.windows IS NOT NULL OR p.max_concurrent IS NOT NULL
            OR p.failures > 0 THEN (
        SELECT jsonb_object_agg(b.id, b.priority) FROM batches b
        WHERE b.id = ANY(batch_ids)) END AS priorities,
    r.bulk
FROM chunks
JOIN enrichment_registry r USING (step_name)
LEFT JOIN throttles t USING (step_name)
LEFT JOIN providers p ON p.name = r.provider
ORDER BY losses, chunk, step_name
"""
