"""The operator's statements that move rows, each headed by its edge.

Each verb first locks the batch, in a statement of its own. Advance and finish lock it too. So they
have ended before the verb's next statement, which sees their rows.

A million rows are moved in chunks. One transaction for all would block every session that waits for
the batch, would be lost whole with its connection, and would keep an old snapshot, which makes all
claims slower. A chunk continues after the last key of the one before, in the order of an index. So
a row that comes back meanwhile is not moved twice.
"""

from reconciler.contract.sql.conditions import LIVE, OPEN, TO_ADVANCE
from reconciler.contract.sql.progress import BY_STATUS, log

HOLD = "SELECT status, paused, priority FROM batches WHERE id = %(batch_id)s FOR NO KEY UPDATE"

# The PENDING rows, and the rows in flight. The latter are found by the index over all batches: it
# is small, because capacities bound it.
UNFINISHED = """
SELECT step_name AS step, status, count(*)::int AS rows
FROM workflow_states
WHERE batch_id = %(batch_id)s AND status = 'PENDING'
GROUP BY step_name, status
UNION ALL
SELECT step_name, status, count(*)::int
FROM workflow_states
WHERE batch_id = %(batch_id)s AND status IN ('QUEUED', 'IN_PROGRESS')
GROUP BY step_name, status
"""

CANCEL_BATCH = """
UPDATE batches SET status = 'CANCELLED', finished_at = coalesce(finished_at, now())
WHERE id = %(batch_id)s
"""

# cancel: QUEUED, IN_PROGRESS -> CANCELLED
CANCEL = """
UPDATE workflow_states
SET status = 'CANCELLED', finished_at = now(), lease_expires_at = NULL
WHERE batch_id = %(batch_id)s AND status IN ('QUEUED', 'IN_PROGRESS')
"""

# The rows of a cancelled batch that would go on get no next step: mark them as advanced.
CANCEL_ADVANCE = f"""
WITH advanced AS (
    UPDATE workflow_states SET advanced = true
    WHERE batch_id = %(batch_id)s AND {TO_ADVANCE}
    RETURNING batch_id, position, status
)
{log(f"SELECT batch_id, position, now(), 0, {BY_STATUS} FROM advanced GROUP BY batch_id, position")}
"""

# Changes a chunk of PENDING rows. `available_at` goes to Python and back as text: the first place
# is "-infinity", which Python has not.
_CHUNK_OF_PENDING = """
WITH chosen AS (
    SELECT ctid, step_name, available_at, company_id
    FROM workflow_states
    WHERE batch_id = %(batch_id)s AND status = 'PENDING'
      {and_those}
      AND (step_name, available_at, company_id)
        > (%(after_step)s, %(after_moment)s::timestamptz, %(after_company)s)
    ORDER BY step_name, available_at, company_id
    LIMIT %(limit)s
    FOR UPDATE
), moved AS (
    UPDATE workflow_states
    SET {change}
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM chosen))
    RETURNING true
)
SELECT (SELECT count(*) FROM moved) AS rows, step_name AS after_step,
    available_at::text AS after_moment, company_id AS after_company
FROM chosen
ORDER BY step_name DESC, available_at DESC, company_id DESC
LIMIT 1
"""

# cancel: PENDING -> CANCELLED
# The batch is cancelled already, so nothing else moves these rows.
CANCEL_PENDING = _CHUNK_OF_PENDING.format(
    and_those="", change="status = 'CANCELLED', finished_at = now()"
)

# A finished batch runs again.
REOPEN_BATCH = """
UPDATE batches SET status = 'RUNNING', finished_at = NULL WHERE id = %(batch_id)s
"""

_SELECTED = """AND (%(step)s::text IS NULL OR step_name = %(step)s)
    AND (%(error)s::text IS NULL OR strpos(error, %(error)s) > 0)
    AND (%(company)s::text IS NULL
         OR company_id = (SELECT id FROM companies WHERE key = %(company)s))
"""
_FAILED = f"""
batch_id = %(batch_id)s AND status = 'FAILED' {_SELECTED}
"""
FAILED = f"""
SELECT step_name AS step, status, count(*)::int AS rows
FROM workflow_states
WHERE {_FAILED}
GROUP BY step_name, status
"""

# retry: FAILED -> PENDING, with all its attempts again; the failed attempt is kept in `attempts`
# No row is locked: whatever moves a FAILED row locks its batch first. This takes a fifth of the
# time.
_RETRY = f"""
WITH failed AS (
    SELECT ctid, company_id, step_name, batch_id, attempt, queued_at, started_at, finished_at,
        call_id, error, error_kind
    FROM workflow_states
    WHERE {_FAILED} {{and_those}}
      AND (step_name, company_id) > (%(after_step)s, %(after_company)s)
    ORDER BY step_name, company_id
    LIMIT %(limit)s
), moved AS (
    UPDATE workflow_states w
    SET status = 'PENDING', forgiven = w.attempt, available_at = now(), finished_at = NULL,
        advanced = false, error = NULL, error_kind = NULL, waits_since = NULL
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM failed))
    RETURNING true
){{and_then}}, kept AS (
    INSERT INTO attempts (company_id, step_name, batch_id, attempt, queued_at, started_at,
        ended_at, call_id, error, error_kind)
    SELECT company_id, step_name, batch_id, attempt, queued_at, started_at, finished_at, call_id,
        error, error_kind
    FROM failed
    ON CONFLICT (company_id, step_name, batch_id, attempt) DO NOTHING
)
SELECT (SELECT count(*) FROM moved) AS rows, step_name AS after_step, company_id AS after_company
FROM failed
ORDER BY step_name DESC, company_id DESC
LIMIT 1
"""
RETRY = _RETRY.format(and_those="", and_then="")

# retry of rows whose call may have been charged: what is lost is paid, and another order is wanted
# The order is found by the company and step: another batch may have made it.
_LOST = f"{OPEN} AND tries > known AND for_attempt IS NULL"
_MAY_BE_CHARGED = "AND error_kind = 'may_be_charged'"
RETRY_UNKNOWN = _RETRY.format(
    and_those=_MAY_BE_CHARGED,
    and_then=f""", superseded AS (
    UPDATE orders o
    SET superseded_at = now(), unknown_at = coalesce(o.unknown_at, now())
    FROM failed f
    WHERE o.company_id = f.company_id AND o.step_name = f.step_name AND {_LOST}
)""",
)
# The rows that such a retry would move; how many of them are without an answer still; and how many
# have none that came late, so that a call is made, at the price that is known now.
FAILED_UNKNOWN = f"""
SELECT step_name AS step, status, count(*)::int AS rows, count(lost.price)::int AS lost,
    count(*) FILTER (WHERE lost.price IS NOT NULL OR (
        SELECT true FROM orders o
        WHERE o.company_id = w.company_id AND o.step_name = w.step_name AND {LIVE}
          AND o.answered_at IS NOT NULL
        LIMIT 1) IS NULL)::int AS calls,
    coalesce((SELECT r.price FROM enrichment_registry r WHERE r.step_name = w.step_name), 0)
        AS price
FROM workflow_states w
LEFT JOIN LATERAL (
    SELECT o.price FROM orders o
    WHERE o.company_id = w.company_id AND o.step_name = w.step_name AND {_LOST} LIMIT 1
) lost ON true
WHERE {_FAILED} {_MAY_BE_CHARGED}
GROUP BY step_name, status
"""

# retry of what waits: the state stays; the next claim may take the rows
_WAITING = f"AND available_at > now() {_SELECTED}"
WAITING = f"""
SELECT step_name AS step, status, count(*)::int AS rows
FROM workflow_states
WHERE batch_id = %(batch_id)s AND status = 'PENDING' {_WAITING}
GROUP BY step_name, status
"""
WAKE = _CHUNK_OF_PENDING.format(and_those=_WAITING, change="available_at = now()")

PAUSE = "UPDATE batches SET paused = %(paused)s WHERE id = %(batch_id)s"

PRIORITY = "UPDATE batches SET priority = %(priority)s WHERE id = %(batch_id)s"

# The running batches that share a step with this one, and so the step's capacity.
RIVALS = """
SELECT other.name, other.priority
FROM batches b
JOIN batches other ON other.id <> b.id AND other.status = 'RUNNING'
    AND other.steps ?| ARRAY(SELECT jsonb_array_elements_text(b.steps))
WHERE b.id = %(batch_id)s
ORDER BY other.priority DESC, other.created_at, other.id
"""
