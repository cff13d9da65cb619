"""The statements of a trial that pays: its orders have no batch."""

from reconciler.contract.sql.conditions import FRESH, LIVE, SURE

# The newest live order of each company, locked: `open`, `fresh` or `old`.
STANDING = f"""
SELECT c.id AS company_id, o.id, o.price, o.made_at, o.sent_at,
    CASE WHEN o.answered_at IS NULL THEN 'open'
        WHEN {FRESH.format(now="now()", fresh_for_s="%(fresh_for_s)s")} THEN 'fresh'
        ELSE 'old' END AS verdict
FROM companies c
CROSS JOIN LATERAL (
    SELECT * FROM orders o
    WHERE o.company_id = c.id AND o.step_name = %(step)s AND {LIVE}
    ORDER BY o.made_at DESC
    LIMIT 1
    FOR UPDATE
) o
WHERE c.id = ANY(%(company_ids)s)
"""

# Orders without a batch, and their reservation. Run it under the claim's lock.
MAKE = """
WITH superseded AS (
    UPDATE orders SET superseded_at = now() WHERE id = ANY(%(old)s)
), reserved AS (
    UPDATE caps c SET reserved = c.reserved + r.amount
    FROM unnest(%(scopes)s::text[], %(sinces)s::date[], %(amounts)s::numeric[])
        AS r (scope, since, amount)
    WHERE c.scope = r.scope AND c.since = r.since
)
INSERT INTO orders (company_id, step_name, provider, price)
SELECT company_id, %(step)s, %(provider)s, %(price)s
FROM unnest(%(company_ids)s::bigint[]) AS company_id
RETURNING id, company_id, price, made_at
"""

# As a worker's: an order that it does not return has gone to a batch, and must not be sent.
SEND = f"""
UPDATE orders
SET sent_at = CASE WHEN answered_at IS NULL AND NOT {SURE} THEN sent_at ELSE clock_timestamp() END,
    tries = tries + 1, answered_at = NULL
WHERE id = ANY(%(order_ids)s) AND for_batch IS NULL AND {LIVE}
RETURNING id, tries
"""

# The trial has ended: what was not sent, or refused, is given back; what was sent is unknown.
END = f"""
UPDATE orders
SET void_at = CASE WHEN {SURE} THEN now() END, unknown_at = CASE WHEN NOT {SURE} THEN now() END
WHERE id = ANY(%(order_ids)s) AND for_batch IS NULL AND answered_at IS NULL AND {LIVE}
"""
