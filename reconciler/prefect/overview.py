"""The batches' progress, as far as the conductor may read it: ids, names, counts, statuses."""

from collections.abc import Sequence
from datetime import UTC, datetime

from reconciler.contract import progress
from reconciler.contract.database import Database, Row
from reconciler.contract.sql.progress import COUNTS
from reconciler.contract.states import BatchStatus, Status
from reconciler.provider_state import Waiting, pace_text, read_held_back, standing_text

MAX_BATCHES = 50

# Running batches first, then the newest.
SHOWN = """
SELECT id, name, status, paused
FROM batches
ORDER BY (status = 'RUNNING') DESC, id DESC
LIMIT %(most)s
"""


NAMES = "SELECT id, name FROM batches WHERE id = ANY(%(batch_ids)s) ORDER BY id"


def rows_of(database: Database, batch_ids: Sequence[int]) -> dict[str, list[Row]]:
    """Each step's rows per status, by the name of the batch, in the order of the steps."""
    ids = list(batch_ids)
    names = {row["id"]: row["name"] for row in database.rows(NAMES, batch_ids=ids)}
    counted = progress.by_batch(database.rows(COUNTS, batch_ids=ids))
    return {
        names[batch_id]: [progress.by_status(step) for step in steps]
        for batch_id, steps in counted.items()
        if batch_id in names
    }


def overview(database: Database) -> list[Row]:
    """One row per step of at most `MAX_BATCHES` batches: running ones first, then the newest.

    Each has the batch's name, id and status, the step, and the step's number of rows per status.
    """
    shown = database.rows(SHOWN, most=MAX_BATCHES)
    ids = [batch["id"] for batch in shown]
    counted = progress.by_batch(database.rows(COUNTS, batch_ids=ids))
    return [
        {
            "batch": batch["name"],
            "id": batch["id"],
            "status": progress.status_text(batch),
            "step": step["step"],
            **{status.replace("_", " ").lower(): step[status] for status in Status},
        }
        for batch in shown
        for step in map(progress.by_status, counted.get(batch["id"], []))
    ]


def held_back(database: Database, rows: Sequence[Row]) -> list[str]:
    """A line per provider that holds rows of running batches back; `rows` are those of `overview`.

    What a provider has said is left out.
    """
    running = [row for row in rows if row["status"] == BatchStatus.RUNNING]
    pending = [(row["step"], row[Status.PENDING.lower()]) for row in running]
    return [_line(waiting) for waiting in read_held_back(database, pending)]


def _line(waiting: Waiting) -> str:
    state, rows = waiting.provider, f"{waiting.rows:,} PENDING"
    if state.closed:
        return f"{state.name} is {standing_text(state, _utc)}: {rows}."
    if state.busy:
        return f"{state.name} has as many calls under way as it takes ({state.at_a_time}): {rows}."
    until = _utc(waiting.until or state.now)
    return f"{state.name} is called at {pace_text(state)}: {rows}, until {until} at least."


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
