"""How statements name rows in flight: by their key and their attempt, which is the fence.

With statistics from before a batch began, the planner believes that no row is in flight. It then
prefers a nested loop over all rows in flight to the primary key: a `complete` of 500 rows took
200 ms instead of 15. Two forms prevent that. A status is compared with `(SELECT '…')`, which the
planner cannot estimate. Rows that may be locked are found in a LATERAL with a LIMIT, which cannot
become a join.
"""

_HELD = """
unnest(%(company_ids)s::bigint[], %(steps)s::text[], %(batch_ids)s::int[],
       %(attempts)s::int[]{more}) AS held (company_id, step_name, batch_id, attempt{columns})
"""
SAME_ATTEMPT = """
w.company_id = held.company_id AND w.step_name = held.step_name
    AND w.batch_id = held.batch_id AND w.attempt = held.attempt
"""
# Passes over rows that a worker has locked: the worker is moving them on, so there is nothing to
# write. Waiting could deadlock with a worker that locks its rows in another order. It would also be
# useless: after the wait, the row has a version that this statement's snapshot does not see.
UNTOUCHED = f"""
w.ctid = ANY(ARRAY(
    SELECT found.ctid
    FROM {{held}}
    CROSS JOIN LATERAL (
        SELECT w.ctid FROM workflow_states w WHERE {SAME_ATTEMPT} AND {{still}}
        LIMIT 1 FOR UPDATE SKIP LOCKED) AS found))
"""
_HELD_ORDERS = """(
    SELECT held.*, found.id AS order_id
    FROM {held}
    CROSS JOIN LATERAL (
        SELECT o.id
        FROM orders o
        WHERE o.company_id = held.company_id AND o.step_name = held.step_name AND {which}
          AND o.for_batch = held.batch_id AND o.for_attempt = held.attempt
        LIMIT 1
        FOR UPDATE
    ) AS found) AS held
"""


def untouched(still: str) -> str:
    """The condition on `w`: the attempt is the same, `still` is true, and no worker locks the row.

    `still` is an SQL condition on `w`.
    """
    return UNTOUCHED.format(held=held(), still=still)


def held(**columns: str) -> str:
    """The FROM item `held`: a row per row in flight, from parallel arrays.

    `columns` adds columns: their names, and the SQL types of their arrays' elements.
    """
    return _HELD.format(
        more="".join(f", %({name})s::{kind}[]" for name, kind in columns.items()),
        columns="".join(f", {name}" for name in columns),
    )


def held_orders(which: str, **columns: str) -> str:
    """The FROM item `held` with `order_id`: that of the order that the attempt may use, locked.

    `which` is LIVE or OPEN; attempts without such an order are left out. Whoever takes the right
    to call away comes before this or after it. The planner may else read all live orders.
    """
    return _HELD_ORDERS.format(which=which, held=held(**columns))
