"""What operators did to a batch: a line each, written in the transaction of what it tells."""

NOTE = """
INSERT INTO history (batch_id, who, verb, detail, rows)
VALUES (%(batch_id)s, %(who)s, %(verb)s, %(detail)s, %(rows)s)
RETURNING id
"""

# A verb that moves its rows in several transactions adds to its line in each of them.
NOTE_MORE = "UPDATE history SET rows = rows + %(rows)s WHERE id = %(line)s"

HISTORY = """
SELECT at, who, verb, detail, rows FROM history WHERE batch_id = %(batch_id)s ORDER BY id
"""
