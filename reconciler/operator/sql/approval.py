"""The statements of an approval. They run in one transaction, which has locked the batch."""

# seed: -> PENDING
# The members of the batch that have no row at its first step.
APPROVE = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, in_waterfall)
SELECT m.company_id, b.steps ->> 0, m.batch_id, 0, (b.past ->> 0) IS NOT NULL
FROM batches b
JOIN batch_companies m ON m.batch_id = b.id
WHERE b.id = %(batch_id)s AND b.unapproved > 0
ORDER BY m.company_id
ON CONFLICT (company_id, step_name, batch_id) DO NOTHING
"""
APPROVED = "UPDATE batches SET unapproved = 0 WHERE id = %(batch_id)s"

# Whether a company is one that waits for the approval of the batch.
UNAPPROVED = """
SELECT true FROM batches b
JOIN batch_companies m ON m.batch_id = b.id
JOIN companies c ON c.id = m.company_id
WHERE b.id = %(batch_id)s AND b.unapproved > 0 AND c.key = %(key)s
"""
