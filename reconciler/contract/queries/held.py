"""How a statement names rows that another process holds: by their key and attempt, the fence."""

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
UNTOUCHED = f"""
w.ctid = ANY(ARRAY(
    SELECT w.ctid FROM workflow_states w, {{held}}
    WHERE {SAME_ATTEMPT} AND {{still}}
    FOR UPDATE OF w SKIP LOCKED))
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
