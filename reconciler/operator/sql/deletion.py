"""The operator's statements that delete a batch, or a company from all batches.

Whatever hangs off a deleted row goes with it, by its foreign key: memberships, states, attempts,
progress, history. A batch's cap goes too; what it has cost stays in `spend`. Results hang off no
batch and no key: they are the company's, and so are those that others have taken the place of.
"""

ROWS = """
SELECT step_name AS step, status, count(*)::int AS rows
FROM workflow_states
WHERE batch_id = %(batch_id)s
GROUP BY step_name, status
"""

# Deletes a chunk of a batch's companies, with their states and attempts.
DELETE_MEMBERS = """
DELETE FROM batch_companies
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM batch_companies WHERE batch_id = %(batch_id)s LIMIT %(limit)s))
"""

DELETE_BATCH = "DELETE FROM batches WHERE id = %(batch_id)s"
DELETE_CAP = "DELETE FROM caps WHERE scope = %(scope)s"

# No file gives the company to another batch until the transaction ends.
HOLD_COMPANY = "SELECT id FROM companies WHERE key = %(key)s FOR UPDATE"

# The batches that have the company, with its rows in each.
BATCHES_OF = """
SELECT b.id, b.name, b.status,
    (SELECT count(*)::int FROM workflow_states w
     WHERE w.company_id = m.company_id AND w.batch_id = b.id) AS rows
FROM batch_companies m
JOIN batches b ON b.id = m.batch_id
WHERE m.company_id = %(company_id)s
ORDER BY b.id
"""

RESULT_TABLES = """
SELECT c.relname AS name
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'p')
  AND c.relname <> ALL(%(special)s)
ORDER BY 1
"""
# {table} is a domain table, as quoted identifiers.
DELETE_RESULTS = "DELETE FROM {table} WHERE company_id = %(company_id)s"
DELETE_SUPERSEDED = "DELETE FROM results.superseded WHERE company_id = %(company_id)s"
# Its orders stay, for the sums: they have ids, times and money only.
DELETE_ANSWERS = """
DELETE FROM results.answers
WHERE order_id IN (SELECT id FROM orders WHERE company_id = %(company_id)s)
"""
DELETE_COMPANY = "DELETE FROM companies WHERE id = %(company_id)s"
