"""Rows per status, and totals of a batch, from the sums of `contract.sql.progress.COUNTS`."""

from collections.abc import Sequence

from reconciler.contract.database import Row
from reconciler.contract.states import ADVANCING, BatchStatus, Status


def by_status(counted: Row) -> Row:
    """A step's rows per status. Rows that arrived and are in no other status are PENDING.

    In a cancelled batch these are CANCELLED. `not_asked`: the companies that an earlier member of
    its waterfall has found, so that they have no row.
    """
    known = {
        Status.QUEUED: counted["queued"],
        Status.IN_PROGRESS: counted["in_progress"],
        Status.COMPLETED: counted["completed"],
        Status.NOT_FOUND: counted["not_found"],
        Status.SKIPPED: counted["skipped"],
        Status.FAILED: counted["failed"],
    }
    others = max(0, counted["arrived"] - sum(known.values()))
    known[Status.CANCELLED if counted["cancelled"] else Status.PENDING] = others
    rows = {status.value: known.get(status, 0) for status in Status}
    return {"step": counted["step"], **rows, "not_asked": counted["not_asked"]}


def done(step: Row) -> int:
    """How many rows of a step, as `by_status` has them, have ended and go on."""
    return sum(step[status] for status in ADVANCING)


def by_batch(counted: Sequence[Row]) -> dict[int, list[Row]]:
    """The rows of `COUNTS` by batch id, in the order of the steps."""
    found: dict[int, list[Row]] = {}
    for row in counted:
        found.setdefault(row["batch_id"], []).append(row)
    return found


def is_paused(batch: Row) -> bool:
    """Whether the batch runs and is paused; the flag of an ended batch means nothing."""
    return bool(batch["paused"] and batch["status"] == BatchStatus.RUNNING)


def status_text(batch: Row) -> str:
    """The batch's status, with "(paused)" if it is."""
    return f"{batch['status']} (paused)" if is_paused(batch) else str(batch["status"])


def totals(counted: Sequence[Row]) -> Row:
    """The number of a batch's companies, and of its rows over all steps."""
    return {
        "companies": counted[0]["arrived"],
        **{
            name: sum(step[name] for step in counted)
            for name in ("done", "completed", "not_found", "skipped", "failed", "not_asked")
        },
        "in_flight": sum(step["queued"] + step["in_progress"] for step in counted),
    }
