"""The statements after a spawn, each headed by its edge, and those that cancel calls.

A worker may have begun the rows by then. So they are addressed by their key and attempt, and rows
that a worker has locked are passed over.
"""

from reconciler.contract.sql.conditions import ORPHANED
from reconciler.contract.sql.held import SAME_ATTEMPT, held, untouched

# spawned: the state stays; it may be a later one by now
# A worker's `begin` writes the call itself.
RECORD_CALLS = f"""
UPDATE workflow_states w SET call_id = held.call_ids
FROM {held(call_ids="text")}
WHERE {SAME_ATTEMPT} AND {untouched("w.call_id IS NULL")}
"""

# release: QUEUED -> PENDING, the attempt refunded
RELEASE = f"""
UPDATE workflow_states w
SET status = 'PENDING', attempt = w.attempt - 1, queued_at = NULL, lease_expires_at = NULL,
    available_at = held.available, error = held.errors, error_kind = 'spawn_refused'
FROM {held(available="timestamptz", errors="text")}
WHERE {SAME_ATTEMPT} AND {untouched("w.status = (SELECT 'QUEUED')")}
RETURNING w.company_id
"""

# give back: QUEUED -> PENDING; IN_PROGRESS -> the lease ends now, so that a tick judges the row
# The worker host that held the rows is gone, with all its processes. Of what was QUEUED it has
# begun nothing, so the attempt is refunded.
GIVE_BACK = f"""
UPDATE workflow_states w
SET status = CASE w.status WHEN 'QUEUED' THEN 'PENDING' ELSE w.status END,
    attempt = w.attempt - (w.status = 'QUEUED')::int,
    queued_at = CASE w.status WHEN 'QUEUED' THEN NULL ELSE w.queued_at END,
    lease_expires_at = CASE w.status WHEN 'QUEUED' THEN NULL ELSE %(now)s END,
    holder = NULL
WHERE w.ctid = ANY(ARRAY(
    SELECT ctid FROM workflow_states
    WHERE {ORPHANED}
    FOR UPDATE SKIP LOCKED))
RETURNING w.company_id
"""

# unknown: stays QUEUED with a reason; the lease decides
NOTE_UNKNOWN = f"""
UPDATE workflow_states w SET error = held.errors, error_kind = 'spawn_unknown'
FROM {held(errors="text")}
WHERE {SAME_ATTEMPT} AND {untouched("w.status = (SELECT 'QUEUED')")}
RETURNING w.company_id
"""

# Sets a step's throttle, or lifts it (no allowance). Ordered by step, so that two ticks cannot
# deadlock.
THROTTLE = """
INSERT INTO throttles (step_name, held_until, allowance, refusals, reason)
SELECT *
FROM unnest(%(steps)s::text[], %(until)s::timestamptz[], %(allowances)s::int[],
    %(refusals)s::int[], %(reasons)s::text[])
    AS given (step_name, held_until, allowance, refusals, reason)
ORDER BY step_name
ON CONFLICT (step_name) DO UPDATE
SET held_until = excluded.held_until, allowance = excluded.allowance,
    refusals = excluded.refusals, reason = excluded.reason
"""

# The calls that have cancelled rows and no row in flight. EXCEPT, because NOT EXISTS may be planned
# as a nested loop over all rows in flight.
CALLS_TO_CANCEL = """
SELECT call_id FROM workflow_states
WHERE status = 'CANCELLED' AND call_id IS NOT NULL AND NOT call_cancelled
EXCEPT
SELECT call_id FROM workflow_states WHERE status IN ('QUEUED', 'IN_PROGRESS')
ORDER BY call_id
LIMIT %(limit)s
"""

# call cancelled: the state stays
# A worker's `begin` may lock some of these rows for a moment: a later tick marks them.
CALLS_CANCELLED = """
UPDATE workflow_states SET call_cancelled = true
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM workflow_states
    WHERE status = 'CANCELLED' AND call_id = ANY(%(call_ids)s) AND NOT call_cancelled
    FOR UPDATE SKIP LOCKED))
"""
