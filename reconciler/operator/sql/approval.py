"""The statements about what waits beyond a batch's sample."""

APPROVED = "UPDATE batches SET unapproved = 0 WHERE id = %(batch_id)s AND unapproved > 0"

# Whether a company is one that waits for the approval of the batch.
UNAPPROVED = """
SELECT true FROM batches b
JOIN batch_companies m ON m.batch_id = b.id
JOIN companies c ON c.id = m.company_id
WHERE b.id = %(batch_id)s AND b.unapproved > 0 AND c.key = %(key)s
"""
