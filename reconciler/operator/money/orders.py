"""Orders: what was bought, and what an operator says about calls whose answer is not known."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.contract.money_models import AMOUNT_LIMIT
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.operator.history import Line
from reconciler.operator.money.amounts import digits, shown
from reconciler.operator.sql import money as queries
from reconciler.operator.store import OperatorStore

# No index has all orders by their time: that would cost 6 us an order. So the newest are looked for
# in ever longer spans of time, by the index on blocks: minutes, an hour, a day, eleven days, ever.
AGES = tuple(timedelta(minutes=4 * 16**n) for n in range(4))


@dataclass(frozen=True)
class Wanted:
    """Which orders: of a batch, a step, a company; one; or only those that are unknown."""

    batch_id: int | None = None
    step: str | None = None
    company_id: int | None = None
    order_id: UUID | None = None
    unknown: bool = False

    @property
    def few(self) -> bool:
        """Whether an index finds them, or they are those of one company."""
        return self.unknown or self.order_id is not None or self.company_id is not None


def read_orders(store: OperatorStore, wanted: Wanted, limit: int) -> list[Row]:
    """Orders, the newest first: `order` (its id), `batch`, `company`, `step`, `provider`, `state`,
    `price`, `charged`, `tries`, `found`, and its times.

    States: open, sent, refused, answered, unknown, void, superseded.
    """
    rows: list[Row] = []
    for age in (*([] if wanted.few else AGES), None):
        rows = store.rows(queries.ORDERS, **asdict(wanted), limit=limit, age=age)
        if len(rows) == limit:
            break
    return rows


def count_orders(store: OperatorStore, wanted: Wanted, most: int) -> int:
    """How many orders these are; `most` stands for that many and more."""
    return int(store.rows(queries.MATCHING, **asdict(wanted), most=most)[0]["orders"])


def read_id(given: str) -> UUID:
    """The id of an order.

    Raises:
        BadInput: it is none.
    """
    try:
        return UUID(given)
    except ValueError as error:
        raise BadInput(f"{given!r} is not the id of an order", "tracer orders --unknown") from error


def lost(store: OperatorStore, wanted: Wanted) -> list[Row]:
    """How many of these orders are unknown: `step`, `status`, `rows`, and the sum of `price`."""
    return store.rows(queries.LOST, **asdict(wanted))


def require_unknown(store: OperatorStore, order_id: UUID) -> None:
    """Look whether the order is one that may be settled.

    Raises:
        BadInput: there is none, or what it cost is known, or may still be found out.
    """
    found = read_orders(store, Wanted(order_id=order_id), 1)
    if not found:
        raise BadInput(f"There is no order {order_id}", "tracer orders --unknown")
    if (state := found[0]["state"]) != "unknown":
        why = "it is still waited for" if state in ("open", "sent", "refused") else "that is known"
        raise BadInput(f"Order {order_id} is {state}: {why}, so there is nothing to say about it.")


def settle(
    store: OperatorStore, wanted: Wanted, *, charged: bool, amount: Decimal | None = None
) -> int:
    """Say of unknown orders whether they were charged; returns their number.

    `amount`: what each has cost in all; the order's price by default. A retry then buys anew.

    Raises:
        BadInput: the amount is more than an order may cost.
    """
    if amount is not None and amount >= AMOUNT_LIMIT:
        raise BadInput(f"An order costs less than {shown(Decimal(AMOUNT_LIMIT))}.")
    statement = queries.CHARGED if charged else queries.NOT_CHARGED
    values = {**asdict(wanted), "unknown": True}
    if charged:
        values["charged"] = amount
    said: dict[str, object] = {} if amount is None else {"amount": digits(amount)}
    said["charged" if charged else "not-charged"] = True
    with store.transaction() as connection:
        connection.execute(CLAIM_TURN)  # no claim looks at these orders meanwhile
        moved = connection.execute(statement.encode(), values).fetchall()
        for batch_id in sorted({row["batch_id"] for row in moved if row["batch_id"] is not None}):
            if connection.execute(queries.HAS_BATCH, {"batch_id": batch_id}).fetchone():
                rows = sum(row["batch_id"] == batch_id for row in moved)
                Line(batch_id, store.who, "orders settle", said).add(connection, rows)
    return len(moved)
