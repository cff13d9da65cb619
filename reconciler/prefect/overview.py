"""The batches' progress, as far as the conductor may read it: ids, names, counts, statuses."""

from reconciler.contract import progress
from reconciler.contract.database import Database, Row
from reconciler.contract.sql.progress import COUNTS
from reconciler.contract.states import Status

MAX_BATCHES = 50

# Running batches first, then the newest.
SHOWN = """
SELECT id, name, status, paused
FROM batches
ORDER BY (status = 'RUNNING') DESC, id DESC
LIMIT %(most)s
"""


def overview(database: Database) -> list[Row]:
    """One row per step of at most `MAX_BATCHES` batches: running ones first, then the newest.

    Each has the batch's name, id and status, the step, and the step's number of rows per status.
    """
    counted = progress.by_batch(database.rows(COUNTS, batch_id=None))
    return [
        {
            "batch": batch["name"],
            "id": batch["id"],
            "status": progress.status_text(batch),
            "step": step["step"],
            **{status.replace("_", " ").lower(): step[status] for status in Status},
        }
        for batch in database.rows(SHOWN, most=MAX_BATCHES)
        for step in map(progress.by_status, counted.get(batch["id"], []))
    ]
