"""How a statement names rows that another process holds: by their key and attempt, the fence.

By statistics from before a batch began nothing is in flight, and a nested loop over all that is
looks cheaper than the primary key: a `complete` of 500 rows took 200 ms instead of 15. So a status
beside the key is compared with `(SELECT '…')`, of which the planner knows nothing; and where others
are to be passed over, each row is looked up in a LATERAL with a LIMIT, which is no join.
"""

_HELD = """
unnest(%(company_ids)s::bigint[], %(steps)s::text[], %(batch_ids)s::int[],
       %(attempts)s::int[]{more}) AS held (company_id, step_name, batch_id, attempt{columns})
"""
SAME_ATTEMPT = """
w.company_id = held.company_id AND w.step_name = held.step_name
    AND w.batch_id = held.batch_id AND w.attempt = held.attempt
"""
# Where a worker holds one of these rows it is moving it on, so that there is nothing to write; and
# who does not wait for a worker cannot deadlock with one that takes its rows in another order.
# Only so: a lock that was waited for is on a version that this statement's snapshot does not see,
# and nothing would be written.
UNTOUCHED = f"""
w.ctid = ANY(ARRAY(
    SELECT found.ctid
    FROM {{held}}
    CROSS JOIN LATERAL (
        SELECT w.ctid FROM workflow_states w WHERE {SAME_ATTEMPT} AND {{still}}
        LIMIT 1 FOR UPDATE SKIP LOCKED) AS found))
"""


def untouched(still: str) -> str:
    """The condition on `w`: held, `still` so, and not in a worker's hands at this moment."""
    return UNTOUCHED.format(held=held(), still=still)


def held(**columns: str) -> str:
    """The FROM item `held`: arrays of equal length, with a further column for each of `columns`."""
    return _HELD.format(
        more="".join(f", %({name})s::{kind}[]" for name, kind in columns.items()),
        columns="".join(f", {name}" for name in columns),
    )
