"""What the counts of a batch's steps come to: rows by status, a rate, and what is left."""

from collections.abc import Sequence
from datetime import timedelta

from reconciler.contract.database import Row
from reconciler.contract.states import Status
from reconciler.contract.steer import BatchView

RATE_WINDOW = timedelta(seconds=30)


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


def totals(counted: Sequence[Row]) -> Row:
    """A batch's companies, and its rows over all steps."""
    return {
        "companies": counted[0]["arrived"],
        "completed": sum(step["completed"] for step in counted),
        "failed": sum(step["failed"] for step in counted),
        "in_flight": sum(step["queued"] + step["in_progress"] for step in counted),
    }


def rate(batch: BatchView, counted: Sequence[Row]) -> float:
    """Company-steps COMPLETED a second: lately, or over all of a batch that has ended."""
    if batch.finished_at:
        done = sum(step["completed"] for step in counted)
        return float(done / max((batch.finished_at - batch.created_at).total_seconds(), 0.001))
    lately = min(RATE_WINDOW, batch.now - batch.created_at).total_seconds()
    return float(sum(step["recent"] for step in counted) / max(lately, 0.001))


def left(companies: int, steps: Sequence[Row]) -> int:
    """Company-steps that are still to come; a company that ended early has none."""
    found = 0
    for step in steps:
        companies -= step[Status.FAILED] + step[Status.CANCELLED]
        found += companies - step[Status.COMPLETED]
    return found
