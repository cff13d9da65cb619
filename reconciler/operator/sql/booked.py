"""What Tracer has booked of one provider, and how to have all of it bought again."""

from reconciler.contract.sql.conditions import LIVE

# `left`: orders of which not all is booked yet.
BOOKED = """
SELECT coalesce(sum(bought), 0)::int AS bought, coalesce(sum(hits), 0)::int AS hits,
    coalesce(sum(reused), 0)::int AS reused, coalesce(sum(charged), 0) AS charged,
    (SELECT count(*)::int FROM orders WHERE provider = %(provider)s AND settled_at IS NULL) AS left
FROM spend
WHERE provider = %(provider)s
"""

# No answer of the provider is used again: the next batch buys all of them anew.
FORGET = f"""
UPDATE orders SET superseded_at = now()
WHERE provider = %(provider)s AND answered_at IS NOT NULL AND {LIVE}
"""
