"""What `tracer doctor` looks at in the database. Nothing here changes anything."""

# A copy that follows another server, or a server that was told to take no writes.
WRITES = """
SELECT pg_is_in_recovery() AS copy, current_setting('default_transaction_read_only') AS read_only
"""

# The columns of every table of a schema; the contract's own is where `workflow_states` is found.
COLUMNS = """
SELECT c.relname AS table, array_agg(a.attname::text) AS columns
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = coalesce(
    to_regnamespace(%(schema)s::text),
    (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('polling')))
GROUP BY c.relname
"""

# Which of the given roles, and who asks, are there; and who owns the contract's tables.
WHO = """
SELECT current_user AS me, pg_has_role(c.relowner, 'USAGE') AS owner,
    ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%(roles)s)) AS roles
FROM pg_class c
WHERE c.oid = to_regclass('polling')
"""

# Of the privileges that are asked for, those that the role lacks, and how many it has.
LACKING = """
SELECT count(*) FILTER (WHERE held) AS held,
    coalesce(array_agg(DISTINCT format('%%s on %%s', privilege, name))
             FILTER (WHERE NOT held), '{}') AS lacking
FROM unnest(%(tables)s::text[], %(privileges)s::text[], %(columns)s::text[])
    AS asked (name, privilege, columns)
CROSS JOIN LATERAL (
    SELECT coalesce(bool_and(has_column_privilege(%(role)s, asked.name, c, privilege)),
        has_table_privilege(%(role)s, asked.name, privilege)) AS held
    FROM string_to_table(nullif(asked.columns, ''), ', ') AS c
) h
"""

# The steps that running batches need, and how the registry has them.
NEEDED = """
SELECT s.step, count(*) AS batches, r.enabled, r.max_in_flight,
    bool_or(r.step_name IS NOT NULL) AS registered
FROM batches b
CROSS JOIN jsonb_array_elements_text(b.blueprint) AS s (step)
LEFT JOIN enrichment_registry r ON r.step_name = s.step
WHERE b.status = 'RUNNING' AND NOT b.paused
GROUP BY s.step, r.enabled, r.max_in_flight
ORDER BY s.step
"""

# Who keeps the contract's tables from being read: whoever has locked one whole, or waits to, and
# those that are waited for by the latter.
HOLDERS = """
SELECT l.relation::regclass::text AS table,
    CASE WHEN l.granted THEN ARRAY[l.pid] ELSE pg_blocking_pids(l.pid) || l.pid END AS pids
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r' AND c.relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass('polling'))
WHERE l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY NOT l.granted, 1
"""
