"""The operator's statements about money: caps, orders, spend, providers."""

from reconciler.contract.sql.conditions import OPEN

_TODAY = "(now() AT TIME ZONE 'UTC')::date"
# The first day of the period that runs now. Text scopes end as `caps.provider_scope` writes them.
_SINCE = f"""CASE WHEN c.scope LIKE '%%/day' THEN {_TODAY}
    WHEN c.scope LIKE '%%/month' THEN date_trunc('month', {_TODAY})::date ELSE c.since END"""

# Each scope as it is now: in a period that has just begun, nothing is spent yet. Batches that have
# ended, and have no limit, are left out: what they cost is in `spend`.
CAPS_NOW = f"""
SELECT c.scope, b.name AS batch, now.since, c.most, now.begun,
    CASE WHEN now.begun THEN c.reserved ELSE 0 END AS reserved,
    CASE WHEN now.begun THEN c.spent ELSE 0 END AS spent,
    CASE WHEN now.begun THEN c.beyond ELSE 0 END AS beyond
FROM (SELECT DISTINCT ON (scope) * FROM caps ORDER BY scope, since DESC) AS c
CROSS JOIN LATERAL (SELECT {_SINCE} AS since, c.since >= {_SINCE} AS begun) AS now
LEFT JOIN batches b ON c.scope = 'batch:' || b.id
WHERE {{where}}
ORDER BY c.scope <> 'all', c.scope LIKE 'batch:%%', b.created_at, c.scope
"""
CAPS_SHOWN = CAPS_NOW.format(
    where="c.scope NOT LIKE 'batch:%%'"
    " OR b.id IS NOT NULL AND (b.status = 'RUNNING' OR c.most IS NOT NULL)"
)
CAPS_OF = CAPS_NOW.format(where="c.scope = ANY(%(scopes)s)")

# What the steps with a price cost, and where; of those that are worked.
PRICED = "SELECT step_name, provider, price FROM enrichment_registry WHERE price > 0 AND enabled"

# The limit of a scope: of the period that runs, which later ones begin with.
SET_CAP = """
INSERT INTO caps (scope, since, most) VALUES (%(scope)s, %(since)s, %(most)s)
ON CONFLICT (scope, since) DO UPDATE SET most = excluded.most
"""
# No period of the scope has a limit any more: a claim looks for the newest that has one.
DROP_CAP = "UPDATE caps SET most = NULL WHERE scope = %(scope)s AND most IS NOT NULL"

TODAY = f"SELECT {_TODAY} AS today"
CLIENTS = "SELECT DISTINCT client FROM batches WHERE client IS NOT NULL ORDER BY client"
PROVIDER_NAMES = "SELECT name FROM providers ORDER BY name"

# A call was sent, its answer is not known, and nobody waits for it. An order is only `unknown_at`
# once a tick has looked: an operator need not wait for that.
_SENT = f"{OPEN} AND tries > known"
_LOST = f"""{_SENT} AND (unknown_at IS NOT NULL OR (
    SELECT true FROM workflow_states w
    WHERE w.company_id = o.company_id AND w.step_name = o.step_name
      AND w.status IN ('PENDING', 'QUEUED', 'IN_PROGRESS') LIMIT 1) IS NULL)"""
_STATE = f"""CASE WHEN superseded_at IS NOT NULL THEN 'superseded'
    WHEN void_at IS NOT NULL THEN 'void'
    WHEN answered_at IS NOT NULL THEN 'answered'
    WHEN sent_at IS NULL THEN 'open'
    WHEN tries = known THEN 'refused'
    WHEN {_LOST} THEN 'unknown' ELSE 'sent' END"""
# A batch buys nothing before it is seeded: most of the table is passed over by its index on time.
_WANTED = f"""(%(batch_id)s::int IS NULL OR o.batch_id = %(batch_id)s
        AND o.made_at >= (SELECT created_at FROM batches WHERE id = %(batch_id)s))
    AND (%(step)s::text IS NULL OR o.step_name = %(step)s)
    AND (%(company_id)s::bigint IS NULL OR o.company_id = %(company_id)s)
    AND (%(order_id)s::uuid IS NULL OR o.id = %(order_id)s)
    AND (NOT %(unknown)s OR {_LOST})"""

# The newest orders that are not older than `age`. The batch is null for a trial, and where it is
# deleted.
ORDERS = f"""
SELECT o.id AS order, b.name AS batch, c.key AS company, o.step_name AS step, o.provider,
    {_STATE} AS state, o.price, o.charged, o.tries, o.found, o.made_at, o.sent_at, o.answered_at,
    o.unknown_at, o.settled_at, o.void_at, o.superseded_at
FROM (
    SELECT * FROM orders o
    WHERE {_WANTED} AND (%(age)s::interval IS NULL OR o.made_at > now() - %(age)s::interval)
    ORDER BY o.made_at DESC, o.id
    LIMIT %(limit)s
) o
LEFT JOIN batches b ON b.id = o.batch_id
LEFT JOIN companies c ON c.id = o.company_id
ORDER BY o.made_at DESC, o.id
"""
# Counts up to `most` of them.
MATCHING = f"""
SELECT count(*)::int AS orders FROM (SELECT FROM orders o WHERE {_WANTED} LIMIT %(most)s) AS found
"""
LOST = f"""
SELECT o.step_name AS step, 'UNKNOWN' AS status, count(*)::int AS rows, sum(o.price) AS price
FROM orders o WHERE {_WANTED} GROUP BY o.step_name
"""

# settle, by an operator: what an order has cost in all, or that it cost nothing
# The next tick books it. The order is over: a later claim of the row makes a new one.
CHARGED = f"""
UPDATE orders o
SET superseded_at = now(), unknown_at = coalesce(unknown_at, now()), for_batch = NULL,
    for_attempt = NULL, charged = coalesce(%(charged)s, greatest(price, charged)),
    answered_at = coalesce(answered_at, now())
WHERE {_WANTED}
RETURNING o.batch_id, o.charged
"""
NOT_CHARGED = f"""
UPDATE orders o
SET void_at = now(), for_batch = NULL, for_attempt = NULL
WHERE {_WANTED}
RETURNING o.batch_id, coalesce(o.charged, 0) AS charged
"""
# The batch stays until the end of the transaction.
HAS_BATCH = "SELECT id FROM batches WHERE id = %(batch_id)s FOR KEY SHARE"
COMPANY_ID = "SELECT id FROM companies WHERE key = %(key)s"

# What was spent, by {by}: a column of `spend`. "" is a trial's batch, no provider, or no client.
SPEND = """
SELECT {by} AS {name}, sum(bought)::bigint AS bought, sum(hits)::bigint AS hits,
    sum(unknown)::bigint AS unknown, sum(reused)::bigint AS reused, sum(charged) AS charged
FROM spend
WHERE (%(batch)s::text IS NULL OR batch = %(batch)s)
  AND (%(since)s::date IS NULL OR day >= %(since)s)
GROUP BY {by}
ORDER BY {by}
"""
# Steps whose providers have lately charged more than the price that is known now. Nothing is read
# where nobody has ever charged above a price; else the index on time passes over what is older.
DEARER = """
SELECT o.step_name AS step, r.price, max(o.charged) AS charged, count(*)::int AS orders
FROM orders o
JOIN enrichment_registry r ON r.step_name = o.step_name
WHERE (SELECT true FROM caps WHERE scope = 'all' AND beyond > 0)
  AND o.made_at > now() - interval '30 days' AND o.charged > o.price AND o.charged > r.price
GROUP BY o.step_name, r.price
ORDER BY o.step_name
"""
WORKED = """
SELECT id, client, priority, now() AS now FROM batches WHERE status = 'RUNNING' AND NOT paused
"""
KNOWN_SPENDER = "SELECT true FROM spend WHERE batch = %(batch)s LIMIT 1"

PROVIDERS = f"""
SELECT p.name AS provider, p.keep_for_s,
    coalesce((
        SELECT json_agg(json_build_object('step', r.step_name, 'price', r.price::text,
            'fresh_for_s', r.fresh_for_s, 'recall', r.recall) ORDER BY r.step_name)
        FROM enrichment_registry r WHERE r.provider = p.name), '[]') AS steps,
    coalesce(sum(s.charged) FILTER (WHERE s.day >= {_TODAY}), 0) AS spent_today,
    coalesce(sum(s.charged), 0) AS spent_this_month
FROM providers p
LEFT JOIN spend s ON s.provider = p.name AND s.day >= date_trunc('month', {_TODAY})
GROUP BY p.name
ORDER BY p.name
"""
