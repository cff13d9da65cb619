"""The batches' progress as the conductor may see it: ids, names, counts and statuses."""

from reconciler.contract import progress
from reconciler.contract.database import Database, Row
from reconciler.contract.sql.progress import COUNTS
from reconciler.contract.states import Status

MOST = 50  # batches

# Those that run come first, then the newest; what is counted of them is `COUNTS`.
SHOWN = """
SELECT id, name, status, paused
FROM batches
ORDER BY (status = 'RUNNING') DESC, id DESC
LIMIT %(most)s
"""


def overview(database: Database) -> list[Row]:
    """A row per step of each batch, those that run first and then the newest, `MOST` batches.

    Each has the batch's name, id and status, the step, and the step's rows per status.
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
        for batch in database.rows(SHOWN, most=MOST)
        for step in map(progress.by_status, counted.get(batch["id"], []))
    ]
