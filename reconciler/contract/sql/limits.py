"""Statements about providers' limits: how far they are used, and what workers find out."""

from reconciler.contract.limits import FIRST_RATE, HORIZON_S, LEAD_S
from reconciler.contract.sql.conditions import AT_DOOR, DOOR_UNTIL, LEFT_OPEN, UNKNOWN

# Of calls that were given a time and did not go out: that time is free again. One call of a bulk
# step is for many orders, of which others may have gone out with it.
_NOT_MADE = """DELETE FROM provider_calls c
    USING {orders} o, enrichment_registry r
    WHERE {which} AND c.provider = o.provider AND c.at = o.send_at
      AND r.step_name = o.step_name AND r.bulk IS NULL"""


def not_made(orders: str, which: str) -> str:
    """The DELETE of the times of these orders' calls; `which` is an SQL condition on `o`."""
    return _NOT_MADE.format(orders=orders, which=which)


# No attempt in flight has the order `o`. Rows of the claim that asks have none yet, though their
# attempts may have the number of one that was refunded.
_NOBODYS = """(SELECT true FROM workflow_states w
         WHERE w.company_id = o.company_id AND w.step_name = o.step_name
           AND w.status IN ('QUEUED', 'IN_PROGRESS')
           AND w.batch_id = o.for_batch AND w.attempt = o.for_attempt
           AND w.queued_at <> %(now)s LIMIT 1) IS NULL"""
# Orders `o` whose call has a time, and will not go out then.
NOT_OUT = f"{LEFT_OPEN} AND o.send_at IS NOT NULL AND {_NOBODYS}"

# The limits of providers whose steps have rows in the claim. Their rows stay locked: a worker that
# pauses one waits, or comes first. `in_flight` counts the claimed rows too; a call of a bulk step
# is for rows of one claim. `lost`: the calls of workers that are gone, which may still be under way
# at the provider.
PROVIDERS = f"""
SELECT p.name, p.windows, p.burst, p.spacing_s, p.next_at, p.calls_left, p.full_until,
    p.learned_rate, p.ceiling, p.changed_at, coalesce(p.paused_until > %(now)s, false) AS paused,
    CASE WHEN p.failures > 0 THEN 1 ELSE p.max_concurrent END AS concurrent,
    CASE WHEN p.failures > 0 OR p.max_concurrent IS NOT NULL THEN coalesce((
        SELECT sum(ceil(c.rows::float / coalesce(r.bulk, 1)))
        FROM enrichment_registry r
        CROSS JOIN LATERAL (
            SELECT count(*) AS rows FROM workflow_states w
            WHERE w.step_name = r.step_name AND w.status IN ('QUEUED', 'IN_PROGRESS')
            GROUP BY w.queued_at) c
        WHERE r.provider = p.name), 0)::int END AS in_flight,
    CASE WHEN p.max_concurrent IS NOT NULL THEN (
        SELECT count(*)
        FROM (SELECT * FROM orders WHERE {LEFT_OPEN}
              UNION ALL
              SELECT * FROM orders
              WHERE {UNKNOWN} AND unknown_at > %(now)s - interval '1 day') o
        JOIN enrichment_registry r USING (step_name)
        WHERE o.provider = p.name AND {AT_DOOR} AND {DOOR_UNTIL} > %(now)s
          AND {_NOBODYS})::int
        ELSE 0 END AS lost
FROM providers p
WHERE p.name = ANY(%(names)s)
ORDER BY p.name
FOR UPDATE OF p
"""
# How many calls have filled each long window, and when the first of them went out. Those that did
# not go out, and belong to rows that wait again, give up their times first.
CALLS = f"""
WITH not_out AS MATERIALIZED (
    SELECT o.id, o.step_name, o.provider, o.send_at
    FROM orders o
    WHERE o.provider = ANY(%(names)s) AND {NOT_OUT}
    FOR UPDATE OF o SKIP LOCKED
), timeless AS (
    UPDATE orders o SET send_at = NULL FROM not_out n WHERE o.id = n.id
), freed AS (
    {not_made("not_out", "true")}
    RETURNING c.provider, c.at
)
SELECT w.name, w.seconds, count(c.at)::int AS calls, min(c.at) AS first_at
FROM unnest(%(names)s::text[], %(seconds)s::float8[]) AS w (name, seconds)
LEFT JOIN (SELECT provider, at FROM provider_calls EXCEPT SELECT provider, at FROM freed) c
    ON c.provider = w.name AND c.at > %(now)s - make_interval(secs => w.seconds)
GROUP BY w.name, w.seconds
"""
PRUNE_CALLS = "DELETE FROM provider_calls WHERE at < %(before)s"

# Times of `calls` that were too late for theirs, after all that are given, as far as calls are
# claimed ahead. Nothing is returned of a provider without spacing.
NEW_TIMES = f"""
WITH free AS (
    SELECT name, spacing_s, first, least(%(calls)s, greatest(0, 1 + floor(extract(epoch FROM
        clock_timestamp() + make_interval(secs => {HORIZON_S}) - first) / spacing_s)))::int AS calls
    FROM (SELECT name, spacing_s, greatest(next_at,
              clock_timestamp() + make_interval(secs => {LEAD_S})) AS first
          FROM providers
          WHERE name = %(name)s AND spacing_s IS NOT NULL
          FOR UPDATE) p
)
UPDATE providers p
SET next_at = f.first + f.calls * make_interval(secs => f.spacing_s)
FROM free f
WHERE p.name = f.name
RETURNING f.calls, f.spacing_s AS gap_s,
    extract(epoch FROM f.first - clock_timestamp())::float8 AS first_s
"""

# Of a provider of which no limit is known: what it has just taken, over two seconds.
_ANSWERED_PER_S = """(SELECT count(*) / 2.0 FROM orders
                      WHERE made_at > clock_timestamp() - interval '1 minute'
                        AND provider = %(name)s
                        AND answered_at > clock_timestamp() - interval '2 seconds')::float8"""
# What a worker has found out: the provider has asked to wait (`asked`), will not work before
# somebody does something (`refused`), or fails again and again (`failing`: twice as long each
# time). A pause that ends later stays. Of many calls that are refused together, the first slows the
# provider: the others were on their way already. Where a limit is set, one call may have come too
# soon by chance: the first refusal slows it by little. One that comes `again` soon slows it more.
PAUSE = f"""
WITH found AS (
    SELECT name, failures, paused_until, spacing_s, learned_rate, ceiling,
        clock_timestamp() AS now,
        refused_at > clock_timestamp() - interval '{HORIZON_S + 1:g} seconds' AS slowed,
        refused_at > clock_timestamp() - interval '8 seconds' AS again
    FROM providers
    WHERE name = %(name)s
    FOR UPDATE
), pausing AS (
    SELECT name, now, CASE %(kind)s WHEN 'refused' THEN 'infinity'
            WHEN 'failing' THEN now + make_interval(secs => least(600, 15 * 2 ^ failures))
            ELSE now + make_interval(secs => %(wait_s)s) END AS until,
        CASE WHEN %(kind)s = 'asked' AND slowed IS NOT TRUE THEN coalesce(
            CASE WHEN learned_rate IS NULL THEN 0.97 WHEN ceiling IS NULL THEN 0.5
                WHEN again THEN 0.8 ELSE 0.9 END / spacing_s,
            greatest({FIRST_RATE}, {_ANSWERED_PER_S})) END AS slower
    FROM found
    WHERE NOT (%(kind)s = 'failing' AND coalesce(paused_until > now, false))
)
UPDATE providers p
SET paused_until = greatest(p.paused_until, n.until),
    pause_kind = CASE WHEN p.paused_until >= n.until THEN p.pause_kind ELSE %(kind)s END,
    paused_why = CASE WHEN p.paused_until >= n.until THEN p.paused_why ELSE %(why)s END,
    next_at = greatest(p.next_at, nullif(greatest(p.paused_until, n.until), 'infinity')),
    failures = p.failures + (%(kind)s = 'failing')::int,
    refusals = p.refusals + (n.slower IS NOT NULL)::int,
    refused_at = CASE WHEN n.slower IS NULL THEN p.refused_at ELSE n.now END,
    ceiling = CASE WHEN n.slower IS NULL THEN p.ceiling ELSE 1 / p.spacing_s END,
    learned_rate = coalesce(n.slower, p.learned_rate),
    spacing_s = coalesce(1 / n.slower, p.spacing_s),
    changed_at = CASE WHEN n.slower IS NULL THEN p.changed_at ELSE n.now END
FROM pausing n
WHERE p.name = n.name
RETURNING p.name
"""
# The call that was to show whether the provider is well again has shown it.
RECOVERED = """
UPDATE providers SET failures = 0, pause_kind = NULL, paused_why = NULL, paused_until = NULL
WHERE name = %(name)s AND failures > 0 AND paused_until < clock_timestamp()
RETURNING name
"""
