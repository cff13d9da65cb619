"""The tick's statements, each headed by its edge; each returns the rows that it won.

All are set-based: a tick runs as many statements for ten rows as for a hundred thousand. Rows that
the statement itself has just locked are addressed by `ctid = ANY(ARRAY(…))`. That is always a Tid
Scan, whatever the statistics say; a join on the key costs 20 to 40 % more CPU. Rows in flight
are addressed by their key and attempt.
"""

from reconciler.contract.sql.conditions import (
    HAS_ORDERS,
    IN_WATERFALL,
    LEFT_OPEN,
    NEXT_PLACE,
    NOT_HELD,
    ORPHANED,
    TO_ADVANCE,
    TO_SETTLE,
)
from reconciler.contract.sql.progress import BY_STATUS, log

# A conductor that goes silent within a transaction (its machine sleeps, its network is gone) keeps
# its locks. Without this limit, Postgres notices after two hours.
SILENCE_LIMIT = "SELECT set_config('idle_in_transaction_session_timeout', '5s', true)"

# The rows that a reap judges. The registry has no row for a step that was removed from it.
EXPIRED = f"""
SELECT w.company_id, w.step_name, w.batch_id, w.attempt, w.forgiven, w.losses, w.status,
    w.available_at, w.error_kind, coalesce(r.max_attempts, 1) AS max_attempts,
    coalesce(r.backoff_s, 0) AS backoff_s, coalesce(r.backoff_max_s, 0) AS backoff_max_s,
    w.waits_since, coalesce(r.give_up_after_s, 0) AS give_up_after_s,
    coalesce(r.recall, 'none') AS recall, coalesce(r.key_ttl_s, 0) AS key_ttl_s,
    coalesce({HAS_ORDERS.format(r="r")}, false) AS has_orders
FROM workflow_states w
LEFT JOIN enrichment_registry r USING (step_name)
WHERE w.lease_expires_at <= %(now)s
ORDER BY w.lease_expires_at
LIMIT %(limit)s
FOR UPDATE OF w SKIP LOCKED
"""

# reap: QUEUED, IN_PROGRESS -> PENDING if there is a next attempt, else FAILED
# `EXPIRED` has locked the rows, so nothing has moved them since. The statement is a function of the
# schema, with its owner's rights: an attempt's text goes with it, and the conductor may not read
# it. Returns how many rows were moved to each.
REAP = """
SELECT retried, failed
FROM tracer_reap(%(now)s, %(company_ids)s::bigint[], %(steps)s::text[], %(batch_ids)s::int[],
    %(attempts)s::int[], %(available)s::timestamptz[], %(errors)s::text[], %(kinds)s::text[],
    %(forgiving)s::bool[], %(lost)s::bool[], %(waits)s::bool[])
"""

# advance: COMPLETED, NOT_FOUND, SKIPPED, once -> the next step's PENDING
# advance: FAILED, once, within a waterfall -> the next step's PENDING
# The next place is the one behind, but for a company that a member of a waterfall has found: `past`
# has where it goes on.
# The flag `advanced` and its partial index keep an idle advance at 1.2 ms with a million finished
# rows; a search for missing successors took 5,400 ms.
# The batches are locked first, until the end. Then a cancel comes either before this statement,
# which sees it, or after it, and the cancel sees the new rows. A batch whose cancel is running is
# passed over: the wait for it has no bound.
ADVANCE = f"""
WITH living AS MATERIALIZED (
    SELECT b.id, b.steps, b.past
    FROM batches b
    WHERE b.status = 'RUNNING'
      AND (SELECT true FROM workflow_states w
           WHERE w.batch_id = b.id AND {TO_ADVANCE}
           ORDER BY w.batch_id DESC, w.company_id DESC LIMIT 1)
    FOR SHARE SKIP LOCKED
), chosen AS (
    SELECT w.ctid
    FROM living l
    CROSS JOIN LATERAL (
        SELECT w.ctid FROM workflow_states w
        WHERE w.batch_id = l.id AND {TO_ADVANCE}
        ORDER BY w.batch_id, w.company_id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) w
    LIMIT %(limit)s
), advanced AS (
    UPDATE workflow_states
    SET advanced = true
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM chosen))
    RETURNING company_id, batch_id, position, status
), seeded AS (
    INSERT INTO workflow_states
        (company_id, step_name, batch_id, position, in_waterfall, available_at, created_at)
    SELECT a.company_id, b.steps ->> next.place, a.batch_id, next.place,
        {IN_WATERFALL.format(place="next.place")}, %(now)s, %(now)s
    FROM advanced a
    JOIN living b ON b.id = a.batch_id
    CROSS JOIN LATERAL (SELECT {NEXT_PLACE.format(row="a")} AS place) next
    WHERE next.place < jsonb_array_length(b.steps)
    ON CONFLICT (company_id, step_name, batch_id) DO NOTHING
    RETURNING batch_id, position
), moved AS (
    SELECT batch_id, position, 0 AS arrived, status FROM advanced
    UNION ALL
    SELECT batch_id, position, 1, NULL FROM seeded
), logged AS (
    {
    log(
        f"SELECT batch_id, position, %(now)s, sum(arrived), {BY_STATUS} FROM moved"
        " GROUP BY batch_id, position ORDER BY batch_id, position"
    )
}
)
SELECT count(*) FROM advanced
"""

# Whether a batch has ended. What most have that have not comes first: CASE keeps that order.
# Scalar subqueries with LIMIT 1, because EXISTS may be planned as a join with the whole backlog.
# Each has its index's order: without it, LIMIT 1 may be planned as a scan of the table, 700 ms
# instead of 11 with 250,000 rows in 50 batches. The order is backward, from the end that no tick
# has reached: while an old snapshot is held, the other end is full of dead entries. NOT IN,
# because it is hashed, once for all batches. No index finds a batch's rows in flight, and a look
# through all leases for each of 50,000 batches took 6 s with 10,000 rows in flight, not 0.06.
_ENDED = f"""
b.status = 'RUNNING'
  AND CASE
    WHEN (SELECT true FROM workflow_states w
          WHERE w.batch_id = b.id AND w.status = 'PENDING'
          ORDER BY w.batch_id DESC, w.step_name DESC, w.available_at DESC, w.company_id DESC
          LIMIT 1) THEN false
    WHEN (SELECT true FROM workflow_states w
          WHERE w.batch_id = b.id AND {TO_ADVANCE}
          ORDER BY w.batch_id DESC, w.company_id DESC LIMIT 1) THEN false
    ELSE b.id NOT IN (SELECT DISTINCT batch_id FROM workflow_states
                      WHERE status IN ('QUEUED', 'IN_PROGRESS')) END
"""

# Two statements: ENDED locks the batches, and FINISH checks them again. An operator's retry may
# commit in between: only FINISH sees it. A later retry waits for the locked batch.
ENDED = f"SELECT b.id FROM batches b WHERE {_ENDED} FOR UPDATE SKIP LOCKED"

# finish: batch RUNNING -> FINISHED
FINISH = f"""
UPDATE batches b
SET status = 'FINISHED', finished_at = %(now)s
WHERE b.id = ANY(%(batch_ids)s) AND {_ENDED}
RETURNING b.id
"""

# Which verbs have work: one probe of one index for each. An idle tick reads nothing else. `pending`
# does not check the capacity, so a claim may still find none left. Before it asks each of thousands
# of batches, it asks whether any batch has such a row. After an advance, a tick finishes anyhow.
DUE = f"""
WITH advancing AS MATERIALIZED (
    SELECT CASE
        WHEN (SELECT true FROM workflow_states WHERE {TO_ADVANCE}
              ORDER BY batch_id DESC, company_id DESC LIMIT 1)
        THEN (SELECT true FROM batches b
              WHERE b.status = 'RUNNING'
                AND (SELECT true FROM workflow_states w
                     WHERE w.batch_id = b.id AND {TO_ADVANCE}
                     ORDER BY w.batch_id DESC, w.company_id DESC LIMIT 1) LIMIT 1)
        END IS NOT NULL AS due
)
SELECT
    (SELECT true FROM workflow_states
     WHERE lease_expires_at <= %(now)s
     ORDER BY lease_expires_at LIMIT 1) IS NOT NULL AS expired,
    a.due AS to_advance,
    (SELECT true FROM workflow_states
     WHERE status = 'CANCELLED' AND call_id IS NOT NULL AND NOT call_cancelled
     ORDER BY call_id LIMIT 1) IS NOT NULL AS calls_to_cancel,
    (SELECT true FROM enrichment_registry r
     JOIN batches b ON b.status = 'RUNNING' AND NOT b.paused AND b.steps ? r.step_name
     WHERE r.enabled AND {NOT_HELD.format(step="r.step_name")}
       AND (SELECT true FROM workflow_states w
            WHERE w.status = 'PENDING' AND w.batch_id = b.id AND w.step_name = r.step_name
              AND w.available_at <= %(now)s
            ORDER BY w.available_at DESC, w.company_id DESC LIMIT 1)
     LIMIT 1) IS NOT NULL AS pending,
    CASE WHEN NOT a.due THEN (SELECT true FROM batches b WHERE {_ENDED} LIMIT 1) END
        IS NOT NULL AS ended,
    (%(family)s::text IS NOT NULL AND (
        SELECT true FROM workflow_states
        WHERE {ORPHANED}
        LIMIT 1)) IS TRUE AS orphaned,
    (SELECT true FROM orders WHERE {TO_SETTLE} ORDER BY made_at LIMIT 1) IS NOT NULL AS to_settle,
    (SELECT true FROM orders WHERE {LEFT_OPEN}
       AND made_at < %(now)s - make_interval(secs => %(resolve_after_s)s)
     ORDER BY made_at LIMIT 1) IS NOT NULL AS left_open
FROM advancing a
"""
