"""What all rows wait for, where nothing moves. It reads only what the conductor's role may read."""

from reconciler.contract.database import Database
from reconciler.contract.progress import by_status
from reconciler.contract.sql.progress import COUNTS
from reconciler.contract.states import Status
from reconciler.operator.diagnosis.database_checks import step_facts
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.rules import money, pending, step
from reconciler.operator.money.full import read_full_caps, read_waiting
from reconciler.operator.sql.diagnosis import LATER
from reconciler.operator.sql.health import NEEDED
from reconciler.operator.sql.money import WORKED


def standstill(store: Database) -> list[Reason]:
    """The reasons that no row of the running batches moves; none while one is in flight."""
    worked = store.rows(WORKED)
    ids = [row["id"] for row in worked]
    counted = store.rows(COUNTS, batch_ids=ids)
    if not worked or any(row["queued"] + row["in_progress"] + row["landed"] for row in counted):
        return []
    waiting = read_waiting(store, counted, {row["id"]: row["client"] for row in worked})
    full = read_full_caps(store, waiting, worked[0]["now"])
    reasons = [money.caps_full(full)] if full else []
    steps = {row["step"] for row in counted if by_status(row)[Status.PENDING]}
    for row in store.rows(NEEDED):
        if row["step"] in steps:
            reasons += step.unworked(step_facts(row), row["batches"], None)
    (later,) = store.rows(LATER, batch_ids=ids)
    return [*reasons, pending.later(**later)] if later["at"] else reasons
