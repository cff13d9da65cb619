"""The reads of `tracer doctor`. No statement here changes anything."""

# Whether the server is a copy that follows another one, and whether it is set to take no writes.
WRITES = """
SELECT pg_is_in_recovery() AS copy, current_setting('default_transaction_read_only') AS read_only
"""

# The columns of every table of a schema; without a name, of the schema with the table `polling`,
# and of its views.
COLUMNS = """
SELECT c.relname AS table, array_agg(a.attname::text) AS columns
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE (c.relkind IN ('r', 'p') OR c.relkind = 'v' AND %(schema)s::text IS NULL)
  AND c.relnamespace = coalesce(
    to_regnamespace(%(schema)s::text),
    (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('polling')))
GROUP BY c.relname
"""

# The connection's role, whether it owns the contract's tables, and which of the given roles exist.
ROLES = """
SELECT current_user AS me, pg_has_role(c.relowner, 'USAGE') AS owner,
    ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%(roles)s)) AS roles
FROM pg_class c
WHERE c.oid = to_regclass('polling')
"""

# The privileges that the role lacks, and the number that it has, of the given ones.
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

# The steps of the running batches, with their rows in the registry.
NEEDED = """
SELECT s.step, count(*) AS batches, r.enabled, r.max_in_flight,
    bool_or(r.step_name IS NOT NULL) AS registered, h.kind AS hold_kind, h.reason AS hold_reason
FROM batches b
CROSS JOIN jsonb_array_elements_text(b.steps) AS s (step)
LEFT JOIN enrichment_registry r ON r.step_name = s.step
LEFT JOIN holds h ON h.step_name = s.step
WHERE b.status = 'RUNNING' AND NOT b.paused
GROUP BY s.step, r.enabled, r.max_in_flight, h.kind, h.reason
ORDER BY s.step
"""

# The sessions that keep Tracer's tables from being read: a session that has locked a whole
# table, or waits for such a lock, and the sessions that a waiting one waits for.
HOLDERS = """
SELECT l.relation::regclass::text AS table,
    CASE WHEN l.granted THEN ARRAY[l.pid] ELSE pg_blocking_pids(l.pid) || l.pid END AS pids
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r' AND c.relnamespace IN (
    (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('polling')),
    to_regnamespace('results'))
WHERE l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY NOT l.granted, 1
"""
