"""What the counts of a batch's steps come to: rows by status, and totals."""

from collections.abc import Sequence

from reconciler.contract.database import Row
from reconciler.contract.states import BatchStatus, Status


def by_status(counted: Row) -> Row:
    """A step's rows per status: all that arrived are in one, and what is counted nowhere waits."""
    known = {
        Status.QUEUED: counted["queued"],
        Status.IN_PROGRESS: counted["in_progress"],
        Status.COMPLETED: counted["completed"],
        Status.FAILED: counted["failed"],
    }
    others = max(0, counted["arrived"] - sum(known.values()))
    known[Status.CANCELLED if counted["cancelled"] else Status.PENDING] = others
    return {"step": counted["step"], **{status.value: known.get(status, 0) for status in Status}}


def by_batch(counted: Sequence[Row]) -> dict[int, list[Row]]:
    """The rows of `COUNTS` for each batch's id, in its steps' order."""
    found: dict[int, list[Row]] = {}
    for row in counted:
        found.setdefault(row["batch_id"], []).append(row)
    return found


def is_paused(batch: Row) -> bool:
    """Whether an operator holds it; that of one that has ended says nothing."""
    return bool(batch["paused"] and batch["status"] == BatchStatus.RUNNING)


def state(batch: Row) -> str:
    """The status, and what stops it."""
    return f"{batch['status']} (paused)" if is_paused(batch) else str(batch["status"])


def totals(counted: Sequence[Row]) -> Row:
    """A batch's companies, and its rows over all steps."""
    return {
        "companies": counted[0]["arrived"],
        "completed": sum(step["completed"] for step in counted),
        "failed": sum(step["failed"] for step in counted),
        "in_flight": sum(step["queued"] + step["in_progress"] for step in counted),
    }
