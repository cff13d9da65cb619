"""What a batch would buy: read within a seeding that is then undone."""

from reconciler.contract.sql.conditions import FRESH, HAS_ORDERS, LIVE

KNOWN = "SELECT now() AS now, (SELECT name FROM batches WHERE id = %(batch_id)s) AS batch"

# Per step of the blueprint that has orders: the batch's companies, and for how many of them a fresh
# answer is there, as the claim finds it.
PLAN = f"""
SELECT s.step, r.provider, r.price, r.bulk, count(*)::int AS companies,
    count(*) FILTER (WHERE s.step <> ALL(%(buy)s::text[])
        AND {FRESH.format(now="now()", fresh_for_s="r.fresh_for_s")})::int AS fresh
FROM unnest(%(steps)s::text[]) WITH ORDINALITY AS s (step, number)
JOIN enrichment_registry r ON r.step_name = s.step AND {HAS_ORDERS.format(r="r")}
JOIN batch_companies m ON m.batch_id = %(batch_id)s
JOIN companies c ON c.id = m.company_id
LEFT JOIN LATERAL (
    SELECT o.answered_at, o.made_at FROM orders o
    WHERE o.company_id = m.company_id AND o.step_name = s.step AND {LIVE}
    ORDER BY o.made_at DESC
    LIMIT 1
) o ON true
GROUP BY s.number, s.step, r.provider, r.price, r.bulk
ORDER BY s.number
"""

# What each cap has left that the batch would count against. `since`: see `caps`.
LEFT = """
SELECT DISTINCT ON (c.scope) c.scope,
    c.most - CASE WHEN c.since = w.since THEN c.reserved + c.spent + c.beyond ELSE 0 END AS left
FROM caps c
JOIN unnest(%(scopes)s::text[], %(sinces)s::date[]) AS w (scope, since) ON w.scope = c.scope
WHERE c.most IS NOT NULL
ORDER BY c.scope, c.since DESC
"""
