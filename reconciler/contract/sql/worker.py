"""The workers' statements, each headed by its edge; each returns the rows that it won."""

from reconciler.contract.sql.conditions import NOT_HELD
from reconciler.contract.sql.held import SAME_ATTEMPT, held

# begin: QUEUED -> IN_PROGRESS; returns the company's input in the same round trip
# A call carries company ids alone. That is enough: a unique index allows one row in flight per
# company and step. If the schema has another revision than the worker's code, nothing is taken.
# Nor if the step is held. Nor are rows that were lost with a worker, unless this one works nothing
# else and the call is as small as their losses say: an older, larger call may have their ids too.
# `own` is the row of the batch's own file, null where the company has it as it is.
_SUSPECT = """w.losses > 0
    AND cardinality(%(company_ids)s::bigint[])
        <= (%(group_sizes)s::int[])[least(w.losses, cardinality(%(group_sizes)s::int[]))]"""
BEGIN = f"""
UPDATE workflow_states w
SET status = 'IN_PROGRESS', started_at = clock_timestamp(), error = NULL, error_kind = NULL,
    call_id = coalesce(%(call_id)s, w.call_id), holder = coalesce(%(holder)s, w.holder),
    lease_expires_at = clock_timestamp() + make_interval(secs => r.lease_s)
FROM companies c, enrichment_registry r
WHERE w.company_id = ANY(%(company_ids)s) AND w.step_name = %(step)s
  AND w.status = 'QUEUED' AND (w.losses = 0 OR %(alone)s AND {_SUSPECT})
  AND (SELECT version_num FROM tracer_version) = %(revision)s
  AND {NOT_HELD.format(step="%(step)s")}
  AND c.id = w.company_id AND r.step_name = w.step_name
RETURNING w.batch_id, w.attempt, r.lease_s, r.hold_after, c.id, c.key, c.name, c.domain,
    c.attributes,
    (SELECT json_build_object('name', m.name, 'domain', m.domain, 'attributes', m.attributes)
     FROM batch_companies m
     WHERE m.batch_id = w.batch_id AND m.company_id = c.id AND m.attributes IS NOT NULL) AS own
"""
# Added to BEGIN for each of the step's inputs: the row of an earlier step's table, null if there is
# none.
INPUT = ", (SELECT to_json(earlier) FROM {table} earlier WHERE company_id = c.id)::text AS {name}"

# Whether rows of a call that begins nothing are waiting for a worker that works nothing else.
ARE_SUSPECT = f"""
SELECT true AS found FROM workflow_states w
WHERE w.company_id = ANY(%(company_ids)s) AND w.step_name = %(step)s
  AND w.status = 'QUEUED' AND {_SUSPECT}
LIMIT 1
"""

# release: QUEUED -> PENDING, the attempt refunded
# The worker is told to end and has not begun them. A call arrives at one worker, so what of it is
# QUEUED is that worker's; after a repeated claim it may be another's, which then finds nothing.
RELEASE = """
UPDATE workflow_states w
SET status = 'PENDING', attempt = w.attempt - 1, queued_at = NULL, lease_expires_at = NULL,
    call_id = NULL, holder = NULL
WHERE w.company_id = ANY(%(company_ids)s) AND w.step_name = %(step)s AND w.status = 'QUEUED'
RETURNING w.company_id
"""

# release: IN_PROGRESS -> PENDING, the attempt forgiven
# The worker is told to end, and has not called the step for them. The attempt has begun, so its
# number is not given again: it fences what this worker may still send.
RELEASE_BEGUN = f"""
UPDATE workflow_states w
SET status = 'PENDING', forgiven = w.forgiven + 1, queued_at = NULL, started_at = NULL,
    lease_expires_at = NULL, call_id = NULL, holder = NULL
FROM {held()}
WHERE {SAME_ATTEMPT} AND w.status = (SELECT 'IN_PROGRESS') AND w.error IS NULL
RETURNING w.company_id, w.step_name
"""

# heartbeat: IN_PROGRESS -> IN_PROGRESS, the lease renewed from now
# The lease of a failed attempt is not renewed: `fail` has ended it, so that the next tick judges
# the row.
HEARTBEAT = f"""
UPDATE workflow_states w
SET lease_expires_at = clock_timestamp() + make_interval(secs => held.leases_s)
FROM {held(leases_s="float8")}
WHERE {SAME_ATTEMPT} AND w.status = (SELECT 'IN_PROGRESS') AND w.error IS NULL
RETURNING w.company_id, w.step_name
"""

# complete: IN_PROGRESS -> COMPLETED, and the domain rows of exactly the rows that it won
# A company's first result is `fresh`, and costs no look at what is there. What comes `again` takes
# the older row's place, which is kept in `superseded`; but a row in which nothing was found leaves
# one in which something was, and is kept there itself. Where all rows are fresh, the counts spare
# `again` its reading: 500 of them take 3 % more CPU than without a history. With a look at
# each row's place it would be 7 %, and far more while the planner takes the table for empty.
# A row that another session has just put there is not seen: the result takes its place all the
# same.
# The placeholders come from the step's SQLModel table. A name with a space is no column of it.
_RESULTS = 'json_to_recordset(%(rows)s::json) AS "new row" ({typed})'
COMPLETE = f"""
WITH won AS (
    UPDATE workflow_states w
    SET status = 'COMPLETED', finished_at = clock_timestamp(), lease_expires_at = NULL,
        error = NULL, error_kind = NULL
    FROM {held()}
    WHERE {SAME_ATTEMPT} AND w.status = (SELECT 'IN_PROGRESS')
    RETURNING w.company_id, w.batch_id AS written_for
), fresh AS (
    INSERT INTO {{table}} ({{columns}}, written_at, written_for, written_with)
    SELECT {{columns}}, now(), won.written_for, %(version)s
    FROM {_RESULTS}
    JOIN won USING (company_id)
    ON CONFLICT (company_id) DO NOTHING
    RETURNING company_id
), again AS (
    SELECT "new row" AS new, there.old, won.written_for,
        {{new_values}} > 0 OR {{old_values}} = 0 AS replaces
    FROM {_RESULTS}
    JOIN won USING (company_id)
    LEFT JOIN LATERAL (
        SELECT "old row" AS old FROM {{table}} AS "old row"
        WHERE "old row".company_id = "new row".company_id
        LIMIT 1) there ON true
    WHERE (SELECT count(*) FROM fresh) < (SELECT count(*) FROM won)
      AND company_id NOT IN (SELECT company_id FROM fresh)
), kept AS (
    INSERT INTO results.superseded
        (company_id, table_name, batch_id, version, written_at, result)
    SELECT (old).company_id, {{name}}, (old).written_for, (old).written_with, (old).written_at,
        to_jsonb(old) - {{ours}}::text[]
    FROM again
    WHERE replaces AND (old).company_id IS NOT NULL
    UNION ALL
    SELECT (new).company_id, {{name}}, written_for, %(version)s, now(),
        to_jsonb(new) - {{ours}}::text[]
    FROM again
    WHERE NOT replaces
), replaced AS (
    INSERT INTO {{table}} ({{columns}}, written_at, written_for, written_with)
    SELECT {{new_columns}}, now(), written_for, %(version)s
    FROM again
    WHERE replaces
    ON CONFLICT (company_id) DO UPDATE SET {{updates}}
)
SELECT company_id FROM won
"""

# fail: IN_PROGRESS -> the lease ends now, so that the next tick judges the row; or FAILED
# miss: IN_PROGRESS -> NOT_FOUND
# skip: IN_PROGRESS -> SKIPPED
# available_at carries a Retry-After over to the tick, which never retries earlier.
FAIL = f"""
UPDATE workflow_states w
SET status = coalesce(held.ends, w.status),
    finished_at = CASE WHEN held.ends IS NOT NULL THEN clock_timestamp() END,
    lease_expires_at = CASE WHEN held.ends IS NULL THEN clock_timestamp() END,
    available_at = greatest(w.available_at,
                            clock_timestamp() + make_interval(secs => held.retry_after_s)),
    error = held.errors, error_kind = held.kinds
FROM {held(errors="text", kinds="text", ends="text", retry_after_s="float8")}
WHERE {SAME_ATTEMPT} AND w.status = (SELECT 'IN_PROGRESS')
RETURNING w.company_id, w.step_name
"""
