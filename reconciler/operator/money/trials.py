"""The orders of a trial: for companies that the database has, a trial buys as a batch does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from reconciler.contract.caps import Purchase, Scope, allot, reserved, scopes_of
from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.orders import (
    Buying,
    KeptAnswer,
    Order,
    Receipt,
    answers_by_order,
    receipt_arrays,
)
from reconciler.contract.purchases import caps_left, scope_arrays
from reconciler.contract.sql import buying as orders
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.operator.money.amounts import shown
from reconciler.operator.sql import trials as queries
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural

NOW = "SELECT now() AS now"


@dataclass(frozen=True)
class Wanted:
    """What a trial buys: the step's name and terms, as its code has them."""

    step_name: str
    provider: str | None
    price: Decimal
    fresh_for_s: float | None


@dataclass
class Till:
    """Makes the orders of a trial, and notes what becomes of them. `made`: those to be ended."""

    store: OperatorStore
    made: list[UUID] = field(default_factory=list)

    def open(self, wanted: Wanted, company_ids: Sequence[int]) -> dict[int, Order]:
        """An order for each of these companies; one with a fresh answer may send nothing.

        Raises:
            BadInput: the answer to an earlier order has not come.
            WorkFailed: a cap has no room for all of them.
        """
        with self.store.transaction() as connection:
            connection.execute(CLAIM_TURN)
            standing = _standing(connection, wanted, company_ids)
            fresh = {r["company_id"]: r for r in standing if r["verdict"] == "fresh"}
            new = [i for i in company_ids if i not in fresh]
            old = [row["id"] for row in standing if row["verdict"] == "old"]
            amounts = _reservation(connection, wanted, len(new)) if new else {}
            about = {"step": wanted.step_name, "provider": wanted.provider, "price": wanted.price}
            reserve = {**scope_arrays(list(amounts)), "amounts": list(amounts.values())}
            asked = {**about, **reserve, "company_ids": new, "old": old}
            bought = connection.execute(queries.MAKE, asked).fetchall()
        self.made += [row["id"] for row in bought]
        found = {i: _order(row, kept=True) for i, row in fresh.items()}
        return found | {row["company_id"]: _order(row, kept=False) for row in bought}

    def send(self, order_ids: Sequence[UUID]) -> dict[UUID, int]:
        """See `WorkerStore.send`."""
        rows = self.store.rows(queries.SEND, order_ids=list(order_ids))
        return {row["id"]: row["tries"] for row in rows}

    def receive(self, receipts: Sequence[Receipt]) -> None:
        """See `WorkerStore.receive`."""
        self.store.rows(orders.RECEIVE, **receipt_arrays(receipts))

    def kept(self, order_ids: Sequence[UUID]) -> dict[UUID, list[KeptAnswer]]:
        """See `WorkerStore.kept`."""
        return answers_by_order(self.store.rows(orders.KEPT, order_ids=list(order_ids)))

    def end(self) -> None:
        """Give back the orders that were not sent; what was sent without an answer is unknown."""
        if self.made:
            self.store.rows(queries.END, order_ids=self.made)


def _order(row: Row, kept: bool) -> Order:
    known = {name: row[name] for name in ("id", "company_id", "price", "made_at")}
    if not kept:
        return Order(**known, buying=Buying())
    return Order(**known, sent_at=row["sent_at"], closed=True, buying=Buying())


def _standing(connection: Connection, wanted: Wanted, company_ids: Sequence[int]) -> list[Row]:
    """The live orders of the companies, of which none is open."""
    asked = {"step": wanted.step_name, "fresh_for_s": wanted.fresh_for_s}
    found = connection.execute(queries.STANDING, {**asked, "company_ids": list(company_ids)})
    standing = found.fetchall()
    if waiting := [row for row in standing if row["verdict"] == "open"]:
        number = plural(len(waiting), "company", "companies")
        raise BadInput(
            f"{wanted.step_name} has an open order for {number} of these: a batch buys there now, "
            "or an answer never came: see `tracer orders`. Or try another company."
        )
    return standing


def _reservation(connection: Connection, wanted: Wanted, count: int) -> dict[Scope, Decimal]:
    """What so many orders reserve of each cap, which has room for it."""
    (now,) = connection.execute(NOW).fetchall()
    at = now["now"]
    purchase = Purchase(wanted.step_name, None, None, wanted.provider, wanted.price, count)
    left = caps_left(connection, scopes_of([purchase], at))
    if allot([purchase], left, at) != [count]:
        full = min((room, scope) for (scope, _), room in left.items() if room is not None)
        raise WorkFailed(
            f"The cap {full[1]} has {shown(max(full[0], Decimal(0)))} left, and this may cost "
            f"{shown(count * wanted.price)}: see `tracer caps`, or try fewer companies."
        )
    return reserved([purchase], [count], at)
