"""The workers' statements of held steps: to hold them, and whether a table fits."""

# hold: a worker has found the step at fault for every company. The first reason stays.
HOLD = """
INSERT INTO holds (step_name, kind, reason)
SELECT r.step_name, %(kind)s, %(reason)s FROM enrichment_registry r WHERE r.step_name = %(step)s
ON CONFLICT DO NOTHING
RETURNING step_name
"""

# hold, resume: a worker has loaded its steps, and says which files it could not import.
LOADED = """
WITH resumed AS (
    DELETE FROM holds WHERE kind = 'import' AND step_name = ANY(%(loaded)s) RETURNING step_name
), held AS (
    INSERT INTO holds (step_name, kind, reason)
    SELECT DISTINCT ON (r.step_name) r.step_name, 'import', u.reason
    FROM enrichment_registry r
    JOIN unnest(%(modules)s::text[], %(steps)s::text[], %(reasons)s::text[])
        AS u (module, step, reason)
      ON r.step_name = u.step
        OR u.step IS NULL AND starts_with(r.module || '.', u.module || '.')
    WHERE r.step_name <> ALL(%(loaded)s)
    ORDER BY r.step_name
    ON CONFLICT DO NOTHING
    RETURNING step_name, reason
)
SELECT step_name, reason FROM held UNION ALL SELECT step_name, NULL FROM resumed
"""

IS_HELD = "SELECT true AS held FROM holds WHERE step_name = %(step)s"

# The columns of a table beside those that its class wants. A type of which Postgres knows no name
# is not compared. `required`: an insert has to name it.
COLUMNS = """
SELECT coalesce(w.name, a.attname) AS name, w.name IS NOT NULL AS wanted,
    a.attname IS NOT NULL AS found, wt.typname AS wanted_type, t.typname AS type,
    a.attnotnull AND NOT a.atthasdef AS required
FROM unnest(%(names)s::text[], %(types)s::text[]) AS w (name, type)
FULL JOIN (
    SELECT attname::text, atttypid, attnotnull, atthasdef FROM pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
) a ON a.attname = w.name
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type wt ON wt.oid = to_regtype(w.type)
"""
