"""The statements that bring a batch in, all in one transaction: a batch is whole or not there."""

# One seeding at a time sorts its rows in: two with companies in common could wait for each other,
# and two of one name would choose the same number behind it.
SEEDING_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.seed'))"

STAGE = """
CREATE TEMPORARY TABLE seed_rows (
    line bigint NOT NULL, key text COLLATE "C" NOT NULL, name text, domain text,
    attributes jsonb NOT NULL
) ON COMMIT DROP
"""

COPY = "COPY seed_rows (line, key, name, domain, attributes) FROM STDIN"

# A name that is taken gets the next free number behind it.
BATCH = """
INSERT INTO batches (name, blueprint, columns, priority)
SELECT %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END,
    %(blueprint)s, %(columns)s, %(priority)s
FROM generate_series(1, (SELECT count(*) + 1 FROM batches)) AS n
WHERE %(name)s || CASE WHEN n = 1 THEN '' ELSE '-' || n END NOT IN (SELECT name FROM batches)
ORDER BY n
LIMIT 1
RETURNING id, name
"""

# Every row's foreign keys are checked by plans that are made at the first row and kept. Those for a
# table as small as `batches` would read all of it each time: with 200 batches that were 68 µs a row
# for NEW and STATES instead of 39.
INDEXED = "SET LOCAL enable_seqscan = off"

# The first row of a key counts; later ones are its duplicates. In the order of keys, so that ids,
# rows and the index grow in one order: 11 s for a million companies, and 14 s in the file's order.
# ON CONFLICT is 3.4 of the 11 s; a join that finds the new ones first costs more than that where
# there are many companies already. More work_mem gained nothing.
NEW = """
WITH made AS (
    INSERT INTO companies (key, name, domain, attributes)
    SELECT DISTINCT ON (key) key, name, domain, attributes
    FROM seed_rows
    ORDER BY key, line
    ON CONFLICT (key) DO NOTHING
    RETURNING id
)
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, id FROM made
"""

# What follows, up to STATES, is for files in which not every row made a company.
KEYS = "SELECT count(DISTINCT key) AS keys FROM seed_rows"

# Looked up one by one: as a join it would be planned by statistics of before this transaction, in
# which companies may be few, or none.
KNOWN = """
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, id
FROM (
    SELECT (SELECT c.id FROM companies c WHERE c.key = r.key) AS id FROM seed_rows r
    EXCEPT
    SELECT company_id FROM batch_companies WHERE batch_id = %(batch_id)s
) AS others
ORDER BY id
"""

# A known company learns what is new about it and forgets nothing.
LEARN = """
INSERT INTO companies AS known (key, name, domain, attributes)
SELECT DISTINCT ON (key) key, name, domain, attributes
FROM seed_rows
ORDER BY key, line
ON CONFLICT (key) DO UPDATE
SET name = coalesce(excluded.name, known.name),
    domain = coalesce(excluded.domain, known.domain),
    attributes = known.attributes || excluded.attributes
WHERE (known.name, known.domain, known.attributes) IS DISTINCT FROM
    (coalesce(excluded.name, known.name), coalesce(excluded.domain, known.domain),
     known.attributes || excluded.attributes)
"""

DUPLICATES = """
SELECT line, key, first_line
FROM (SELECT line, key, min(line) OVER (PARTITION BY key) AS first_line FROM seed_rows) AS rows
WHERE line > first_line
ORDER BY line
"""

# seed: -> PENDING
STATES = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT company_id, %(step)s, batch_id, 0 FROM batch_companies WHERE batch_id = %(batch_id)s
"""
