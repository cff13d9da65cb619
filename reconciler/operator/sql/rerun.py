"""Statements by which an operator has ended rows worked again; in chunks, as in `steering`."""

from reconciler.contract.sql.conditions import FRESH, HAS_ORDERS, LIVE
from reconciler.contract.sql.progress import log

# The ended rows of a step that can be worked again: `those` says which.
ENDED_ROWS = {
    "failed": "status = 'FAILED'",
    "not_found": "status = 'NOT_FOUND'",
    "all": "status IN ('COMPLETED', 'NOT_FOUND', 'SKIPPED', 'FAILED')",
}
_KEPT_ORDER = f"""(
    SELECT o.id FROM orders o
    WHERE o.company_id = w.company_id AND o.step_name = w.step_name AND {LIVE}
      AND o.answered_at IS NOT NULL
    ORDER BY o.made_at DESC LIMIT 1)"""
_AGAIN = """
w.batch_id = %(batch_id)s AND w.step_name = %(step)s AND {those}
"""
# How many of the rows have an answer that `reparse` can read, and how many of them `rerun` may make
# a call for. What a claim does with the order that a row's company and step has, see JUDGE. An
# order whose call may have been charged is not sent again.
TO_RERUN = f"""
SELECT w.step_name AS step, w.status, count(*)::int AS rows, coalesce(max(r.price), 0) AS price,
    count(*) FILTER (WHERE o.answered_at IS NOT NULL AND r.recall <> 'again')::int AS kept,
    count(*) FILTER (WHERE {HAS_ORDERS.format(r="r")} AND CASE
        WHEN o.id IS NULL THEN true
        WHEN o.answered_at IS NULL THEN o.tries = o.known OR r.recall <> 'none'
        WHEN %(buy)s THEN true
        WHEN o.batch_id = w.batch_id THEN r.recall = 'again'
        ELSE w.step_name = ANY(o.buy) OR NOT o.fresh END)::int AS calls
FROM workflow_states w
LEFT JOIN enrichment_registry r ON r.step_name = w.step_name
LEFT JOIN LATERAL (
    SELECT o.id, o.batch_id, o.answered_at, o.tries, o.known, b.buy,
        {FRESH.format(now="now()", fresh_for_s="r.fresh_for_s")} AS fresh
    FROM orders o
    JOIN companies c ON c.id = o.company_id
    JOIN batches b ON b.id = w.batch_id
    WHERE o.company_id = w.company_id AND o.step_name = w.step_name AND {LIVE}
    ORDER BY o.made_at DESC
    LIMIT 1
) o ON true
WHERE {_AGAIN}
GROUP BY w.step_name, w.status
"""
# rerun: COMPLETED, NOT_FOUND, SKIPPED, FAILED -> PENDING, with all its attempts again
# With `kept`, only rows with a kept answer: they are worked from it, and send nothing. With `buy`,
# their orders are superseded, so that a new one is made. What had gone on has its next step
# already: it goes on once more, and finds that there, so the log counts it back.
RERUN = f"""
WITH chosen AS (
    SELECT w.ctid, w.company_id, {_KEPT_ORDER} AS order_id
    FROM workflow_states w
    WHERE {_AGAIN} AND w.company_id > %(after_company)s
    ORDER BY w.company_id
    LIMIT %(limit)s
    FOR UPDATE
), moving AS (
    SELECT w.ctid, w.position, w.status, w.advanced, c.order_id
    FROM chosen c
    JOIN workflow_states w ON w.ctid = c.ctid
    WHERE NOT %(kept)s OR c.order_id IS NOT NULL
), superseded AS (
    UPDATE orders SET superseded_at = now()
    WHERE %(buy)s AND id IN (SELECT order_id FROM moving)
), moved AS (
    UPDATE workflow_states w
    SET status = 'PENDING', forgiven = w.attempt, available_at = now(), finished_at = NULL,
        advanced = false, error = NULL, error_kind = NULL, waits_since = NULL,
        reused = CASE WHEN %(kept)s THEN m.order_id END
    FROM moving m
    WHERE w.ctid = m.ctid
    RETURNING true
), logged AS (
    {
    log(
        "SELECT %(batch_id)s, position, now(), 0, -count(*) FILTER (WHERE status = 'COMPLETED'),"
        " -count(*) FILTER (WHERE status = 'NOT_FOUND'),"
        " -count(*) FILTER (WHERE status = 'SKIPPED')"
        " FROM moving WHERE advanced GROUP BY position"
    )
}
)
SELECT (SELECT count(*) FROM moved) AS rows, company_id AS after_company
FROM chosen
ORDER BY company_id DESC
LIMIT 1
"""
