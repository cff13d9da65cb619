"""The statements of a seeding, in the order in which they run; all of them in one transaction."""

from reconciler.operator.sql.cells import says

# After the staging, one seeding at a time. Two with companies in common could deadlock, and two
# batches of one name would choose the same number.
SEEDING_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.seed'))"

STAGE = """
CREATE TEMPORARY TABLE seed_rows (
    line bigint NOT NULL, key text COLLATE "C" NOT NULL, name text, domain text,
    attributes jsonb NOT NULL
) ON COMMIT DROP
"""

COPY = "COPY seed_rows (line, key, name, domain, attributes) FROM STDIN"

# If the name is taken, the next free number is appended: `leads-2`.
BATCH = """
INSERT INTO batches (name, blueprint, columns, priority, buy, client)
SELECT %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END,
    %(blueprint)s, %(columns)s, %(priority)s, %(buy)s, %(client)s
FROM generate_series(1, (SELECT count(*) + 1 FROM batches)) AS n
WHERE %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END NOT IN (SELECT name FROM batches)
ORDER BY n
LIMIT 1
RETURNING id, name
"""

# Postgres plans the checks of foreign keys at the first row, and keeps the plans. For a table as
# small as `batches` it would choose a sequential scan for every row: with 200 batches, NEW and
# STATES took 68 µs a row instead of 39.
INDEXED = "SET LOCAL enable_seqscan = off"

# Of several rows with a key one counts here: the first, or the last if {order} is DESC. Sorted by
# key, so that ids, rows and the index grow in one order: a million companies take 11 s, and 14 s in
# the file's order. ON CONFLICT is 3.4 of the 11 s. A join that finds the new companies first costs
# more if there are many companies already. More work_mem gained nothing.
NEW = """
WITH made AS (
    INSERT INTO companies (key, name, domain, attributes)
    SELECT DISTINCT ON (key) key, name, domain, attributes
    FROM seed_rows
    ORDER BY key, line {order}
    ON CONFLICT (key) DO NOTHING
    RETURNING id
)
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, id FROM made
"""

# The statements from here to KNOWN run only if some row of the file made no new company.
KEYS = "SELECT count(DISTINCT key) AS keys FROM seed_rows"

# The one row of each key that several rows have. `line`: the row that it is, or begins with.
# `sources`: the line that each of its cells is from, if it says something.
SETTLED = """
CREATE TEMPORARY TABLE settled (
    key text COLLATE "C" PRIMARY KEY, first_line bigint NOT NULL, line bigint NOT NULL, name text,
    domain text, attributes jsonb NOT NULL, sources jsonb NOT NULL
) ON COMMIT DROP
"""

# The first row, its empty cells filled from later ones: per cell, the first that says something.
FILL = f"""
INSERT INTO settled (key, first_line, line, name, domain, attributes, sources)
WITH repeated AS MATERIALIZED (
    SELECT key, line, name, domain, attributes FROM seed_rows
    WHERE key IN (SELECT key FROM seed_rows GROUP BY key HAVING count(*) > 1)
), heads AS (
    SELECT key, min(line) AS line,
        (array_agg(name ORDER BY line) FILTER (WHERE name IS NOT NULL))[1] AS name,
        (array_agg(domain ORDER BY line) FILTER (WHERE domain IS NOT NULL))[1] AS domain
    FROM repeated
    GROUP BY key
), cells AS (
    SELECT DISTINCT ON (r.key, cell.key COLLATE "C") r.key, cell.key AS name, cell.value, r.line
    FROM repeated r
    CROSS JOIN LATERAL jsonb_each(r.attributes) cell
    ORDER BY r.key, cell.key COLLATE "C", NOT ({says("cell.value")}), r.line
), filled AS (
    SELECT key, jsonb_object_agg(name, value) AS attributes,
        jsonb_object_agg(name, line) FILTER (WHERE {says("value")}) AS sources
    FROM cells
    GROUP BY key
)
SELECT h.key, h.line, h.line, h.name, h.domain, coalesce(f.attributes, '{{}}'),
    coalesce(f.sources, '{{}}')
FROM heads h
LEFT JOIN filled f ON f.key = h.key
"""

# The first or the last row as it is; {order} is ASC or DESC.
TAKE = """
INSERT INTO settled (key, first_line, line, name, domain, attributes, sources)
SELECT DISTINCT ON (key) key, first_line, line, name, domain, attributes, '{{}}'
FROM (
    SELECT key, line, name, domain, attributes, min(line) OVER rows_of AS first_line,
        count(*) OVER rows_of AS rows
    FROM seed_rows
    WINDOW rows_of AS (PARTITION BY key)
) AS numbered
WHERE rows > 1
ORDER BY key, line {order}
"""

# The rows that are not the one of their key: which columns they filled, and which of their values
# are dropped, since the one row has others. Cells are joined, not looked up: a look-up reads the
# whole row, and with 80,000 columns there would be 80,000 of them.
DUPLICATES = f"""
SELECT r.line, r.key, s.first_line, s.line AS kept_line,
    ARRAY(SELECT source.key FROM jsonb_each(s.sources) source
          WHERE source.value = to_jsonb(r.line) ORDER BY 1) AS filled,
    (SELECT coalesce(jsonb_object_agg(
         cell.key, jsonb_build_object('kept', kept.value, 'dropped', cell.value)), '{{}}')
     FROM jsonb_each(r.attributes) cell
     LEFT JOIN jsonb_each(s.attributes) kept ON kept.key = cell.key
     WHERE {says("cell.value")} AND cell.value IS DISTINCT FROM kept.value) AS differs
FROM seed_rows r
JOIN settled s ON s.key = r.key
WHERE r.line <> s.line
ORDER BY r.line
"""

SETTLE = "DELETE FROM seed_rows WHERE key IN (SELECT key FROM settled)"
SETTLE_ROWS = """
INSERT INTO seed_rows (line, key, name, domain, attributes)
SELECT line, key, name, domain, attributes FROM settled
"""

# Known companies as members, with the row of this file where the company differs from it.
KNOWN = """
INSERT INTO batch_companies (batch_id, company_id, name, domain, attributes)
SELECT %(batch_id)s, c.id, own.name, own.domain, own.attributes
FROM seed_rows r
CROSS JOIN LATERAL (
    SELECT id, name, domain, attributes FROM companies WHERE key = r.key LIMIT 1
) AS c
LEFT JOIN LATERAL (SELECT r.name, r.domain, r.attributes) AS own
    ON (r.name, r.domain, r.attributes) IS DISTINCT FROM (c.name, c.domain, c.attributes)
WHERE (SELECT true FROM batch_companies m
       WHERE m.batch_id = %(batch_id)s AND m.company_id = c.id) IS NULL
ORDER BY c.id
"""

# seed: -> PENDING
STATES = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, in_waterfall)
SELECT company_id, %(step)s, batch_id, 0, %(in_waterfall)s
FROM batch_companies
WHERE batch_id = %(batch_id)s {and_those}
"""
# Of a sample: the first companies of the file.
SAMPLED = """AND company_id = ANY(ARRAY(
    SELECT c.id FROM seed_rows r JOIN companies c ON c.key = r.key
    ORDER BY r.line LIMIT %(sample)s))"""
# Of an approval: those that have no row there yet.
WITHOUT_ROW = "ON CONFLICT (company_id, step_name, batch_id) DO NOTHING"
UNAPPROVED = "UPDATE batches SET unapproved = %(rest)s WHERE id = %(batch_id)s"
