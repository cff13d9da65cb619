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

# The first row of a key counts; later ones are its duplicates.
COUNT = """
SELECT count(DISTINCT key) AS keys,
    (SELECT count(*) FROM companies c WHERE c.key IN (SELECT key FROM seed_rows)) AS known
FROM seed_rows
"""

DUPLICATES = """
SELECT line, key, first_line
FROM (SELECT line, key, min(line) OVER (PARTITION BY key) AS first_line FROM seed_rows) AS rows
WHERE line > first_line
ORDER BY line
"""

# A known company learns what is new about it and forgets nothing.
COMPANIES = """
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

MEMBERS = """
INSERT INTO batch_companies (batch_id, company_id)
SELECT %(batch_id)s, c.id FROM companies c WHERE c.key IN (SELECT key FROM seed_rows)
"""

# seed: -> PENDING
STATES = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT company_id, %(step)s, batch_id, 0 FROM batch_companies WHERE batch_id = %(batch_id)s
"""
