"""The rest of a batch that began with a sample: what it may come to, and its approval."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reconciler.contract.sql.progress import LOG_SEEDED
from reconciler.contract.states import BatchStatus
from reconciler.operator import views
from reconciler.operator.batch import BatchView
from reconciler.operator.history import Line
from reconciler.operator.money.spend import By, read_spent
from reconciler.operator.seeding.route import read_route
from reconciler.operator.sql import approval as queries
from reconciler.operator.sql.seeding import STATES, WITHOUT_ROW
from reconciler.operator.sql.steering import HOLD, REOPEN_BATCH
from reconciler.operator.steering import ended
from reconciler.operator.store import OperatorStore


@dataclass(frozen=True)
class Prediction:
    """What a step comes to for the rest of a batch, if that is like its sample.

    `asked`: for how many companies the step is called; `hit_rate`: the share of those that it
    finds; `cost`: what they cost. None where the sample has not come to the step.
    """

    step: str
    asked: int | None
    hit_rate: float | None
    cost: Decimal | None


def predict(store: OperatorStore, batch: BatchView) -> list[Prediction]:
    """Per step, what the sample's companies have come to, for as many as are not approved yet."""
    charged = {row["step"]: row["charged"] for row in read_spent(store, By.STEP, batch.name)}
    sample = batch.companies - batch.unapproved
    return [
        _predicted(place, charged.get(place["step"], Decimal(0)), batch.unapproved, sample)
        for place in views.places(store, batch)
    ]


def _predicted(place: dict[str, Any], charged: Decimal, rest: int, sample: int) -> Prediction:
    if not sample or not (place["tried"] or place["not_asked"]):
        return Prediction(place["step"], None, None, None)
    asked = round(place["tried"] * rest / sample)
    cost = (charged * rest / sample).quantize(Decimal("0.01"))
    return Prediction(place["step"], asked, place["hit_rate"], cost)


def approve(store: OperatorStore, batch: BatchView) -> int:
    """Let the companies go that wait beyond the sample; returns their number.

    Raises:
        BadInput: the batch was cancelled, or is deleted.
    """
    asked = {"batch_id": batch.id}
    with store.transaction() as connection:
        held = connection.execute(HOLD, asked).fetchone()
        if not held or held["status"] == BatchStatus.CANCELLED:
            raise ended(batch.name, held["status"] if held else BatchStatus.CANCELLED)
        if not connection.execute(queries.APPROVED, asked).rowcount:
            return 0
        states = STATES.format(and_those=WITHOUT_ROW)
        rows = connection.execute(states, asked | read_route(batch.blueprint).first).rowcount
        connection.execute(LOG_SEEDED, {**asked, "rows": rows})
        connection.execute(REOPEN_BATCH, asked)
        Line(batch.id, store.who, "approve").add(connection, rows)
    return rows
