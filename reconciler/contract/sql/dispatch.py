"""The statements after a spawn, each headed by its edge: what was taken, what not, what to stop.

A worker may have the rows by then: they are addressed by key and attempt, and left alone where it
is moving them.
"""

from reconciler.contract.sql.held import SAME_ATTEMPT, held, untouched

# dispatch landed: the state stays, and may by now be any later one
# A worker that has begun has written its call itself.
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

# dispatch unknown: stays QUEUED with a reason; its lease decides
NOTE_UNKNOWN = f"""
UPDATE workflow_states w SET error = held.errors, error_kind = 'spawn_unknown'
FROM {held(errors="text")}
WHERE {SAME_ATTEMPT} AND {untouched("w.status = (SELECT 'QUEUED')")}
RETURNING w.company_id
"""

# What a step's dispatches came to: its claim is held and cut, or free again where there is no
# allowance. In order of the steps, so that two ticks do not wait for each other.
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

# The calls that carry cancelled rows and none that is still to be worked. EXCEPT, since NOT EXISTS
# may be planned as a nested loop over all that is in flight.
CALLS_TO_CANCEL = """
SELECT call_id FROM workflow_states
WHERE status = 'CANCELLED' AND call_id IS NOT NULL AND NOT call_cancelled
EXCEPT
SELECT call_id FROM workflow_states WHERE status IN ('QUEUED', 'IN_PROGRESS')
ORDER BY call_id
LIMIT %(limit)s
"""

# cancel calls: the state stays, since the call of these rows is cancelled
# A begin that waited for the cancel holds rows that it does not take: a later tick asks again.
CALLS_CANCELLED = """
UPDATE workflow_states SET call_cancelled = true
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM workflow_states
    WHERE status = 'CANCELLED' AND call_id = ANY(%(call_ids)s) AND NOT call_cancelled
    FOR UPDATE SKIP LOCKED))
"""
