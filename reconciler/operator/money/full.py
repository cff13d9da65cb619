"""Caps that are full: they have no room for one more order of what waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from reconciler.contract.caps import Purchase, scopes_of
from reconciler.contract.database import Database, Row
from reconciler.contract.progress import by_status
from reconciler.contract.sql.progress import COUNTS
from reconciler.contract.states import Status
from reconciler.operator.money.caps import as_cap
from reconciler.operator.sql import money as queries


@dataclass(frozen=True)
class FullCap:
    """A cap that is full: what is `left` of its `limit`, how many `rows` wait for it, and what they
    cost. `scope` is as people write it; `per` is its period."""

    scope: str
    per: str | None
    limit: Decimal
    left: Decimal
    rows: int
    cost: Decimal

    @property
    def needs(self) -> Decimal:
        """The lowest limit that has room for all of them."""
        return self.limit - self.left + self.cost


def full_caps(caps: Iterable[Row], waiting: Sequence[Purchase], at: datetime) -> list[FullCap]:
    """Those of `caps`, rows of `CAPS_NOW`, that are full; the one with least left first."""
    counting: dict[str, list[Purchase]] = {}
    for wanted in waiting:
        for scope, _ in wanted.scopes(at):
            counting.setdefault(scope, []).append(wanted)
    found = []
    for row in caps:
        cap = as_cap(row)
        held = [w for w in counting.get(row["scope"], ()) if _too_little(cap["left"], w.price)]
        if held:
            found.append(_full(cap, held, Decimal(0)))
    return sorted(found, key=lambda cap: cap.left)


def short_caps(
    caps: Iterable[Row], wanted: Purchase, before: Sequence[Purchase], at: datetime
) -> list[FullCap]:
    """Those of `caps` with too little left for `wanted`, once all that comes `before` it is bought.

    Their `rows` are those that come before it; their `cost` is that of all.
    """
    found = []
    for row in caps:
        counting = [w for w in before if row["scope"] in names_of([w], at)]
        cap = as_cap(row)
        if cap["limit"] is not None:
            full = _full(cap, counting, wanted.orders * wanted.price)
            found += [full] if full.left < full.cost else []
    return sorted(found, key=lambda cap: cap.left)


def _full(cap: Row, waiting: Sequence[Purchase], more: Decimal) -> FullCap:
    """The cap for which these wait; `more` is added to their cost."""
    name = cap["scope"].removesuffix(f"/{cap['per']}")
    rows = sum(wanted.orders for wanted in waiting)
    cost = sum((wanted.orders * wanted.price for wanted in waiting), more)
    return FullCap(name, cap["per"], cap["limit"], cap["left"], rows, cost)


def names_of(waiting: Sequence[Purchase], at: datetime) -> list[str]:
    """The scopes that these count against."""
    return [scope for scope, _ in scopes_of(waiting, at)]


def read_full_caps(store: Database, waiting: Sequence[Purchase], at: datetime) -> list[FullCap]:
    """The full caps that these wait for."""
    if not waiting:
        return []
    return full_caps(store.rows(queries.CAPS_OF, scopes=names_of(waiting, at)), waiting, at)


def read_all_waiting(store: Database, worked: Sequence[Row]) -> list[Purchase]:
    """What the PENDING rows of these batches may buy; they are rows of `WORKED`."""
    clients = {row["id"]: row["client"] for row in worked}
    return read_waiting(store, store.rows(COUNTS, batch_ids=list(clients)), clients)


def read_waiting(
    store: Database, counted: Iterable[Row], clients: dict[int, str | None]
) -> list[Purchase]:
    """What the PENDING rows of steps with a price may buy.

    `counted` are rows of `COUNTS`. `clients` has the batches that are worked, by their ids.
    """
    terms = {
        row["step_name"]: (row["provider"], row["price"]) for row in store.rows(queries.PRICED)
    }
    return [
        Purchase(row["step"], row["batch_id"], clients[row["batch_id"]], *terms[row["step"]], rows)
        for row in counted
        if row["step"] in terms and row["batch_id"] in clients
        if (rows := by_status(row)[Status.PENDING])
    ]


def _too_little(left: Decimal | None, price: Decimal) -> bool:
    return left is not None and left < price
