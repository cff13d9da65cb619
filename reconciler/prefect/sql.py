"""What the conductor may show of the batches: names, counts and statuses."""

# Those that run come first, then the newest; what is counted of them is `queries.progress.COUNTS`.
SHOWN = """
SELECT id, name, status, paused
FROM batches
ORDER BY (status = 'RUNNING') DESC, id DESC
LIMIT %(most)s
"""
