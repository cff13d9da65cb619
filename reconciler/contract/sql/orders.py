"""The tick's statements about money: which orders are made, and what of them is booked.

An order is found by its company and step. Whoever moves one locks its row, or its id: a worker that
sends a call, and a tick that takes the right away, then come one after the other.
"""

from reconciler.contract.sql.conditions import (
    AT_DOOR,
    COST,
    DECIDED,
    DOOR_UNTIL,
    FRESH,
    LEFT_OPEN,
    LIVE,
    OPEN,
    SURE,
    TO_SETTLE,
)
from reconciler.contract.sql.held import SAME_ATTEMPT, held, held_orders
from reconciler.contract.sql.limits import not_made

# What is to be done for rows that have just been claimed, and whose company and step has an order:
#   attach   the order is this attempt's: unsent, to be sent again, or answered; a row that was put
#            back to be read anew names it in `reused`, and sends nothing
#   reuse    a fresh answer whose result has landed: the row ends as that row did
#   replace  the answer is too old, or another one is wanted
#   unknown  its call may have been charged, and cannot be repeated
# `calls`: a call will be made for it. `at_door_until`: an earlier call of it may still be under way
# at a provider that takes few at a time, though its worker is gone.
# Of rows without an order nothing is returned. The orders stay locked: no call is sent meanwhile.
JUDGE = f"""
SELECT held.company_id, held.step_name, o.id AS order_id, coalesce(landed.status,
        CASE WHEN r.recall = 'again' THEN
            CASE WHEN o.found THEN 'COMPLETED' ELSE 'NOT_FOUND' END END) AS ended_as,
    CASE
    WHEN o.answered_at IS NULL THEN
        CASE WHEN o.tries > o.known
                AND (r.recall = 'none' OR r.recall = 'key'
                     AND o.sent_at + make_interval(secs => r.key_ttl_s) <= %(now)s)
            THEN 'unknown' ELSE 'attach' END
    WHEN o.id = claimed.reused OR o.batch_id = held.batch_id AND r.recall <> 'again' THEN 'attach'
    WHEN held.step_name = ANY(b.buy) OR o.batch_id = held.batch_id
        OR NOT {FRESH.format(now="%(now)s", fresh_for_s="r.fresh_for_s")} THEN 'replace'
    WHEN landed.status IS NOT NULL OR r.recall = 'again' THEN 'reuse'
    ELSE 'attach' END AS verdict,
    o.answered_at IS NULL AND claimed.reused IS NULL AS calls,
    CASE WHEN p.max_concurrent IS NOT NULL AND {AT_DOOR} THEN {DOOR_UNTIL} END AS at_door_until
FROM {held()}
CROSS JOIN LATERAL (SELECT w.reused FROM workflow_states w WHERE {SAME_ATTEMPT} LIMIT 1) claimed
JOIN enrichment_registry r ON r.step_name = held.step_name
JOIN batches b ON b.id = held.batch_id
JOIN companies c ON c.id = held.company_id
LEFT JOIN providers p ON p.name = r.provider
CROSS JOIN LATERAL (
    SELECT * FROM orders o
    WHERE o.company_id = held.company_id AND o.step_name = held.step_name AND {LIVE}
    ORDER BY o.made_at DESC
    LIMIT 1
    FOR UPDATE
) o
LEFT JOIN LATERAL (
    SELECT w.status FROM workflow_states w
    WHERE w.company_id = held.company_id AND w.step_name = held.step_name
      AND w.batch_id = o.batch_id AND w.status IN ('COMPLETED', 'NOT_FOUND')
    LIMIT 1
) landed ON true
"""

# The caps of some scopes, locked in one order, so that two programs cannot deadlock.
CAPS = """
SELECT c.scope, c.since, c.most, c.most - c.reserved - c.spent - c.beyond AS left
FROM caps c
JOIN unnest(%(scopes)s::text[], %(sinces)s::date[]) AS wanted (scope, since)
    ON wanted.scope = c.scope AND wanted.since = c.since
ORDER BY c.scope, c.since
FOR UPDATE OF c
"""
# A period begins with the limit of the one before.
BEGIN_CAPS = """
INSERT INTO caps (scope, since, most)
SELECT wanted.scope, wanted.since,
    (SELECT most FROM caps WHERE scope = wanted.scope AND since < wanted.since
     ORDER BY since DESC LIMIT 1)
FROM unnest(%(scopes)s::text[], %(sinces)s::date[]) AS wanted (scope, since)
ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""

# claim, the second half, in its transaction: each claimed row gets its order
# reuse: PENDING -> COMPLETED, NOT_FOUND
# Rows whose caps are full (`wait`) are PENDING again, as if they had not been claimed. The prices
# are those by which the caps' room was counted: the registry may have others by now.
PLACE = f"""
WITH placed AS MATERIALIZED (
    SELECT * FROM {
    held(
        verdicts="text", order_ids="uuid", ends="text", send_ats="timestamptz", untils="timestamptz"
    )
}
), terms AS MATERIALIZED (
    SELECT * FROM unnest(%(priced)s::text[], %(prices)s::numeric[], %(providers)s::text[])
        AS r (step_name, price, provider)
), superseded AS (
    UPDATE orders o SET superseded_at = %(now)s
    FROM placed p WHERE o.id = p.order_ids AND p.verdicts = 'replace'
), made AS (
    INSERT INTO orders (company_id, step_name, batch_id, client, provider, price, made_at,
        for_batch, for_attempt, send_at)
    SELECT p.company_id, p.step_name, p.batch_id, b.client, r.provider, r.price, %(now)s,
        p.batch_id, p.attempt, p.send_ats
    FROM placed p
    JOIN terms r USING (step_name)
    JOIN batches b ON b.id = p.batch_id
    WHERE p.verdicts IN ('new', 'replace')
), attached AS (
    UPDATE orders o SET for_batch = p.batch_id, for_attempt = p.attempt, send_at = p.send_ats
    FROM placed p WHERE o.id = p.order_ids AND p.verdicts = 'attach'
), moved AS (
    UPDATE workflow_states w
    SET status = held.ends, lease_expires_at = NULL, holder = NULL, queued_at = NULL,
        attempt = w.attempt - (held.verdicts <> 'unknown')::int,
        available_at = coalesce(held.untils, w.available_at),
        finished_at = CASE WHEN held.verdicts <> 'wait' THEN %(now)s END,
        error = CASE held.verdicts WHEN 'unknown' THEN %(may_be_charged)s END,
        error_kind = CASE held.verdicts WHEN 'unknown' THEN 'may_be_charged' END,
        reused = CASE held.verdicts WHEN 'reuse' THEN held.order_ids ELSE w.reused END
    FROM placed AS held
    WHERE {SAME_ATTEMPT} AND held.ends IS NOT NULL
), reserved AS (
    UPDATE caps c SET reserved = c.reserved + r.amount
    FROM unnest(%(scopes)s::text[], %(sinces)s::date[], %(amounts)s::numeric[])
        AS r (scope, since, amount)
    WHERE c.scope = r.scope AND c.since = r.since
), paced AS (
    UPDATE providers p
    SET next_at = l.next_at, calls_left = l.calls_left, full_until = l.full_until,
        spacing_s = l.spacing_s, learned_rate = l.learned_rate, ceiling = l.ceiling,
        changed_at = l.changed_at
    FROM unnest(%(limited)s::text[], %(next_ats)s::timestamptz[], %(lefts)s::int[],
        %(fulls)s::timestamptz[], %(spacings)s::float8[], %(rates)s::float8[],
        %(ceilings)s::float8[], %(changed)s::timestamptz[])
        AS l (name, next_at, calls_left, full_until, spacing_s, learned_rate, ceiling, changed_at)
    WHERE p.name = l.name
), not_made AS (
    {not_made("orders", "o.id = ANY(%(order_ids)s) AND o.superseded_at IS NULL")}
), counted AS (
    INSERT INTO provider_calls (provider, at)
    SELECT DISTINCT r.provider, p.send_ats
    FROM placed p
    JOIN terms r USING (step_name)
    WHERE p.send_ats IS NOT NULL AND r.provider = ANY(%(counting)s)
    ON CONFLICT DO NOTHING
)
INSERT INTO spend (day, batch, step_name, provider, client, reused)
SELECT (%(now)s AT TIME ZONE 'UTC')::date, b.name, p.step_name, coalesce(r.provider, ''),
    coalesce(b.client, ''), count(*)
FROM placed p
JOIN batches b ON b.id = p.batch_id
JOIN terms r ON r.step_name = p.step_name
WHERE p.verdicts = 'reuse'
GROUP BY b.name, p.step_name, r.provider, b.client
ON CONFLICT (day, batch, step_name, provider, client) DO UPDATE
SET reused = spend.reused + excluded.reused
"""

# Takes from attempts that a reap is about to judge the right to call, and says what they have sent.
# A worker that sends just now comes first, or not at all.
FENCE = f"""
UPDATE orders o
SET for_batch = NULL, for_attempt = NULL
FROM {held_orders(OPEN)}
WHERE o.id = held.order_id
RETURNING o.company_id, o.step_name, CASE WHEN o.tries > o.known THEN o.sent_at END AS sent_at
"""

# Orders that nobody is about to send, or waits for: given back, or unknown. Orders are left alone
# for a while after they were made: each tick would else look at all calls under way. It runs under
# the claim's lock: a row may else be claimed between this statement's snapshot and its write. What
# a row in backoff has reserved is given back if a cap is full: it would else not be claimed.
RESOLVE = f"""
WITH resolved AS (
UPDATE orders o
SET void_at = CASE WHEN {SURE} THEN %(now)s END,
    unknown_at = CASE WHEN NOT {SURE} THEN %(now)s END,
    for_batch = NULL, for_attempt = NULL
WHERE {LEFT_OPEN} AND o.id = ANY(ARRAY(
    SELECT orders.id
    FROM orders
    LEFT JOIN LATERAL (
        SELECT w.status FROM workflow_states w
        WHERE w.company_id = orders.company_id AND w.step_name = orders.step_name
          AND w.status IN ('PENDING', 'QUEUED', 'IN_PROGRESS')
        ORDER BY w.status = 'PENDING'
        LIMIT 1
    ) open_row ON true
    WHERE {LEFT_OPEN} AND made_at < %(now)s - make_interval(secs => %(after_s)s)
      AND (open_row.status IS NULL OR open_row.status = 'PENDING' AND {SURE}
          AND (sent_at IS NULL OR (SELECT true FROM caps
                                   WHERE most - reserved - spent - beyond < orders.price LIMIT 1)))
    ORDER BY made_at
    LIMIT %(limit)s
    FOR UPDATE OF orders SKIP LOCKED))
RETURNING o.id, o.step_name, o.provider, o.send_at, o.void_at
), not_made AS (
    {not_made("resolved", "o.void_at IS NOT NULL")}
), opened AS (
    UPDATE providers p SET full_until = NULL, calls_left = NULL
    FROM resolved o
    WHERE o.provider = p.name AND o.void_at IS NOT NULL AND o.send_at IS NOT NULL
)
SELECT id FROM resolved
"""

# settle: what an order costs, once that is decided or has changed, goes from reserved to spent
# `old` is what was booked before, `was_final` whether nothing is reserved any more since then. A
# charge above the order's price counts as `beyond`: prices are meant to be upper bounds.
SETTLE = f"""
WITH due AS MATERIALIZED (
    SELECT id, coalesce(settled, 0) AS old, coalesce({COST}, 0) AS cost,
        settled_at IS NOT NULL AS was_final, {DECIDED} OR settled_at IS NOT NULL AS final,
        coalesce(unknown_at <= settled_at, false) AS was_unknown,
        unknown_at IS NOT NULL AND answered_at IS NULL AND void_at IS NULL AS unknown
    FROM orders
    WHERE {TO_SETTLE}
    ORDER BY made_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), booked AS (
    UPDATE orders o
    SET settled = due.cost, settled_at = CASE WHEN due.final THEN %(now)s END,
        unknown_at = CASE WHEN due.unknown THEN o.unknown_at END
    FROM due WHERE o.id = due.id
    RETURNING o.batch_id, o.client, o.step_name, coalesce(o.provider, '') AS provider, o.price,
        due.*, (o.made_at AT TIME ZONE 'UTC')::date AS day, o.void_at IS NOT NULL AS void, o.found
), sums AS MATERIALIZED (
    SELECT batch_id, client, step_name, provider, day,
        sum(CASE WHEN was_final THEN 0 ELSE price - least(old, price) END)
            - sum(CASE WHEN final THEN 0 ELSE price - least(cost, price) END) AS reserved,
        sum(least(cost, price) - least(old, price)) AS spent,
        sum(greatest(cost - price, 0) - greatest(old - price, 0)) AS beyond,
        sum(cost - old) AS charged,
        sum((final AND NOT void)::int - (was_final)::int) AS bought,
        count(*) FILTER (WHERE found AND final AND (NOT was_final OR was_unknown)) AS hits,
        sum(unknown::int - (was_unknown AND was_final)::int) AS unknown
    FROM booked
    GROUP BY batch_id, client, step_name, provider, day
), of_caps AS (
    UPDATE caps c
    SET reserved = c.reserved - s.reserved, spent = c.spent + s.spent, beyond = c.beyond + s.beyond
    FROM (
        SELECT t.scope, t.since, sum(s.reserved) AS reserved, sum(s.spent) AS spent,
            sum(s.beyond) AS beyond
        FROM sums s
        CROSS JOIN LATERAL (VALUES
            ('all', %(always)s::date),
            ('batch:' || s.batch_id, %(always)s::date),
            ('client:' || s.client, %(always)s::date),
            ('provider:' || nullif(s.provider, '') || '/day', s.day),
            ('provider:' || nullif(s.provider, '') || '/month', date_trunc('month', s.day)::date)
        ) AS t (scope, since)
        WHERE t.scope IS NOT NULL
        GROUP BY t.scope, t.since
    ) s
    WHERE c.scope = s.scope AND c.since = s.since
), of_spend AS (
    INSERT INTO spend (day, batch, step_name, provider, client, bought, hits, unknown, charged)
    SELECT s.day, coalesce(b.name, ''), s.step_name, s.provider, coalesce(s.client, ''),
        sum(s.bought), sum(s.hits), sum(s.unknown), sum(s.charged)
    FROM sums s
    LEFT JOIN batches b ON b.id = s.batch_id
    GROUP BY s.day, coalesce(b.name, ''), s.step_name, s.provider, s.client
    ON CONFLICT (day, batch, step_name, provider, client) DO UPDATE
    SET bought = spend.bought + excluded.bought, hits = spend.hits + excluded.hits,
        unknown = spend.unknown + excluded.unknown, charged = spend.charged + excluded.charged
)
SELECT count(*) FROM booked
"""

# Orders that have ended, are older than their provider's are kept, and are not fresh. Their
# answers go with them; what they cost stays in `caps` and `spend`.
PRUNE = f"""
DELETE FROM orders
WHERE id = ANY(ARRAY(
    SELECT o.id
    FROM (SELECT * FROM orders
          WHERE settled_at IS NOT NULL AND NOT {TO_SETTLE}) o
    JOIN providers p ON p.name = o.provider AND p.keep_for_s IS NOT NULL
    LEFT JOIN enrichment_registry r ON r.step_name = o.step_name
    WHERE o.made_at < %(now)s - make_interval(
            secs => greatest(p.keep_for_s, coalesce(r.fresh_for_s, 0)))
      AND (o.answered_at IS NOT NULL OR o.void_at IS NOT NULL OR o.superseded_at IS NOT NULL)
    ORDER BY o.made_at
    LIMIT %(limit)s))
"""
