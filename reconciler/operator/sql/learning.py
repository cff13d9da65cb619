"""What a file teaches about known companies: a part of a seeding, once each key has one row."""

from reconciler.operator.sql.cells import says

# The companies that the rows change, as they are and as they will be. `new`: this seeding has made
# the company, from the first of several rows.
LEARNED = """
CREATE TEMPORARY TABLE learned (
    id bigint NOT NULL, key text COLLATE "C" NOT NULL, name_before text, domain_before text,
    before jsonb NOT NULL, name text, domain text, attributes jsonb NOT NULL, new boolean NOT NULL
) ON COMMIT DROP
"""

# A known company gets the new values of the file, and keeps all others. An empty cell says nothing.
# One index look-up per row. A join would be planned with statistics from before this transaction,
# when `companies` may have been small or empty. The first condition spares most rows the second.
# {rows} is `settled` where all else is new.
LEARN = f"""
INSERT INTO learned (id, key, name_before, domain_before, before, name, domain, attributes, new)
SELECT c.id, r.key, c.name, c.domain, c.attributes, coalesce(r.name, c.name),
    coalesce(r.domain, c.domain), c.attributes || said.cells,
    (SELECT true FROM batch_companies m
     WHERE m.batch_id = %(batch_id)s AND m.company_id = c.id) IS NOT NULL
FROM {{rows}} r
CROSS JOIN LATERAL (
    SELECT id, name, domain, attributes FROM companies WHERE key = r.key LIMIT 1
) AS c
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(cell.key, cell.value), jsonb_build_object()) AS cells
    FROM jsonb_each(r.attributes) cell
    WHERE {says("cell.value")}
) AS said
WHERE (c.name, c.domain, c.attributes) IS DISTINCT FROM
    (coalesce(r.name, c.name), coalesce(r.domain, c.domain), c.attributes || r.attributes)
  AND (c.name, c.domain, c.attributes) IS DISTINCT FROM
    (coalesce(r.name, c.name), coalesce(r.domain, c.domain), c.attributes || said.cells)
"""

# The batches that have a company's row as `companies` has it keep it so, before the company
# changes. Their rows are found by the company's states: `batch_companies` has no index by company,
# which would cost every seeding more than this costs a few.
KEEP = """
UPDATE batch_companies m
SET (name, domain, attributes) =
    (SELECT c.name, c.domain, c.attributes FROM companies c WHERE c.id = m.company_id)
WHERE m.ctid = ANY(ARRAY(
    SELECT known.ctid
    FROM learned l
    CROSS JOIN LATERAL (
        SELECT DISTINCT batch_id FROM workflow_states WHERE company_id = l.id OFFSET 0
    ) AS w
    CROSS JOIN LATERAL (
        SELECT ctid FROM batch_companies
        WHERE batch_id = w.batch_id AND company_id = l.id AND attributes IS NULL LIMIT 1
    ) AS known
))
"""

# `changed_at`: what was bought for the company before is about another one. The clock, not the
# transaction's time: an order that was made while the file was read knows the old values too. A
# company that this seeding has made has no orders.
TEACH = """
INSERT INTO companies (key, name, domain, attributes)
SELECT key, name, domain, attributes FROM learned ORDER BY key
ON CONFLICT (key) DO UPDATE
SET name = excluded.name, domain = excluded.domain, attributes = excluded.attributes,
    changed_at = CASE WHEN companies.created_at < now() THEN clock_timestamp() END
"""

CHANGED = "SELECT count(*) AS companies FROM learned WHERE NOT new"


def _changed_cells(companies: str) -> str:
    """The cells that change. A company's name and domain follow from its cells; they are named only
    where no cell changes."""
    return f"""
SELECT l.key, cell.name AS column, cell.before, cell.after
FROM ({companies}) AS l
CROSS JOIN LATERAL (
    SELECT now.key AS name, was.value AS before, now.value AS after
    FROM jsonb_each(l.attributes) now
    LEFT JOIN jsonb_each(l.before) was ON was.key = now.key
    UNION ALL
    SELECT field.name, to_jsonb(field.before), to_jsonb(field.after)
    FROM (VALUES ('company.name', l.name_before, l.name),
                 ('company.domain', l.domain_before, l.domain)) AS field (name, before, after)
    WHERE l.before = l.attributes
) AS cell
WHERE cell.before IS DISTINCT FROM cell.after
"""


_KNOWN = "SELECT * FROM learned WHERE NOT new"
CHANGED_COLUMNS = f"""
SELECT "column", count(*) AS companies FROM ({_changed_cells(_KNOWN)}) AS cells
GROUP BY "column"
ORDER BY companies DESC, "column"
"""
# Each of these companies has a cell at least, so that the first of them have the first cells.
CHANGES = f"""
{_changed_cells(f"{_KNOWN} ORDER BY key LIMIT %(most)s")}
ORDER BY l.key, cell.name
LIMIT %(most)s
"""
