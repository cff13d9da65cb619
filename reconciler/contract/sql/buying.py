"""The workers' statements about orders: a call is noted before it is sent, its answer after."""

from reconciler.contract.sql.conditions import LIVE, OPEN
from reconciler.contract.sql.held import SAME_ATTEMPT, held_orders

# Added to BEGIN for a step that has orders: the order of the attempt, null if there is none.
# `wait_s`: seconds until its call may go out, at `slot`. `probing`: the call
# shows whether the provider is well again.
ORDER = f""",
    (SELECT json_build_object(
         'wait_s', extract(epoch FROM o.send_at - clock_timestamp())::float8,
         'slot', o.send_at,
         'probing', coalesce(p.failures > 0, false),
         'id', o.id, 'price', o.price::text, 'made_at', o.made_at,
         'sent_at', o.sent_at, 'lost', o.answered_at IS NULL AND o.tries > o.known,
         'closed', w.reused IS NOT NULL)
     FROM orders o
     LEFT JOIN providers p ON p.name = o.provider
     WHERE o.company_id = c.id AND o.step_name = w.step_name AND {LIVE}
       AND o.for_batch = w.batch_id AND o.for_attempt = w.attempt
     LIMIT 1) AS "order"
"""

# send: before the call, one statement for a group of calls; an order that it does not return is not
# this attempt's any more, or its provider is paused, and must not be sent
SEND = f"""
UPDATE orders o
SET sent_at = CASE WHEN o.answered_at IS NULL AND o.tries > o.known THEN o.sent_at
        ELSE clock_timestamp() END,
    tries = o.tries + 1, answered_at = NULL, send_at = NULL
FROM {held_orders(LIVE, order_ids="uuid")}
WHERE o.id = held.order_id AND o.id = held.order_ids
  AND (SELECT w.status FROM workflow_states w
       WHERE {SAME_ATTEMPT} AND w.reused IS NULL LIMIT 1) = 'IN_PROGRESS'
  AND (SELECT p.paused_until > clock_timestamp() FROM providers p
       WHERE p.name = o.provider) IS NOT TRUE
RETURNING o.id, o.tries
"""

# receive: the receipt of answers, whatever has become of the attempt. What is written twice, after
# a lost connection, stays as it is. A refusal may come late, after another call's answer. `once`:
# the provider charges a request once, however often it was sent; nor does it charge one that was
# looked up (try 0) and whose own answer then comes late.
RECEIVE = """
WITH receipts AS MATERIALIZED (
    SELECT * FROM unnest(%(order_ids)s::uuid[], %(numbers)s::int[], %(tries)s::int[],
        %(finals)s::bool[], %(hashes)s::text[], %(requests)s::text[], %(statuses)s::int[],
        %(headers)s::text[], %(bodies)s::bytea[], %(shares)s::uuid[], %(charges)s::numeric[],
        %(founds)s::bool[], %(onces)s::bool[])
        AS r (order_id, number, try, final, hash, request, status, headers, body, shares, charge,
              found, once)
), kept AS (
    INSERT INTO results.answers (order_id, number, try, final, request_hash, request, status,
        headers, body, shares)
    SELECT order_id, number, try, final, hash, request::jsonb, status, headers::jsonb, body, shares
    FROM receipts
    ON CONFLICT DO NOTHING
    RETURNING order_id, number, try
)
UPDATE orders o
SET known = CASE WHEN r.final THEN o.tries ELSE least(o.known + 1, o.tries) END,
    found = CASE WHEN r.final THEN r.found ELSE o.found END,
    answered_at = CASE WHEN r.final THEN clock_timestamp()
        WHEN o.found IS NOT NULL THEN coalesce(o.answered_at, clock_timestamp()) END,
    charged = CASE WHEN r.final OR r.charge > 0 THEN coalesce(o.charged, 0) + CASE WHEN (
            SELECT true FROM results.answers a
            WHERE a.order_id = r.order_id AND a.number = r.number AND a.final
              AND (r.once OR a.try = 0)
            LIMIT 1) THEN 0 ELSE r.charge END
        ELSE o.charged END
FROM receipts r
JOIN kept USING (order_id, number, try)
WHERE o.id = r.order_id
RETURNING o.id
"""

# What is kept for orders. Of a call for many orders, the body is kept once.
KEPT = """
SELECT a.order_id, coalesce(a.shares, a.order_id) AS call, a.number, a.request_hash, a.status,
    coalesce(s.headers, a.headers) AS headers, coalesce(s.body, a.body, '') AS body
FROM results.answers a
LEFT JOIN results.answers s
    ON s.order_id = a.shares AND s.number = a.number AND s.final AND s.request_hash = a.request_hash
WHERE a.order_id = ANY(%(order_ids)s) AND a.final
ORDER BY a.order_id, a.number, a.try
"""

# The orders of a step that calls without `paid`: what has ended is taken for answered.
BOUGHT = f"""
UPDATE orders o
SET sent_at = coalesce(o.sent_at, clock_timestamp()), answered_at = clock_timestamp(),
    known = o.tries, found = held.founds, charged = CASE WHEN held.paid THEN o.price ELSE 0 END
FROM {held_orders(OPEN, founds="bool", paid="bool")}
WHERE o.id = held.order_id
"""
