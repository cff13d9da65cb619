"""An order as its worker has it, and the receipt that the worker writes for each answer."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Buying:
    """How a step buys. `by_result`: it calls without `paid`, so that what has ended is taken for
    answered; `hits_only`: a company that the provider does not know costs nothing."""

    by_result: bool = False
    hits_only: bool = False


@dataclass(frozen=True)
class Order:
    """The right to pay once for one company's step.

    `sent_at`: when a call was sent, None before the first. `lost`: what came of one of them is not
    known. `closed`: no call may be made. Where its provider has limits, its call may go out in
    `wait_s` seconds, at the time `slot`; orders of one call have the same. `probing`: the call
    shows whether the provider is well again.
    """

    id: UUID
    company_id: int
    price: Decimal
    made_at: datetime
    sent_at: datetime | None = None
    lost: bool = False
    closed: bool = False
    buying: Buying = Buying()
    slot: str | None = None
    wait_s: float | None = None
    probing: bool = False

    @property
    def may_have_answers(self) -> bool:
        """Whether answers may be kept for it."""
        return self.sent_at is not None


@dataclass(frozen=True)
class KeptAnswer:
    """An answer that is kept: to the order's request `number`, whose hash is `request_hash`.

    `call`: the first of the orders that the call was for.
    """

    call: UUID
    number: int
    request_hash: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Receipt:
    """What a provider has answered to one call; `order_ids` are those that the call was for.

    `number` counts the requests of one run of the step from 0, `tries` the calls of each order.
    Without `final`, the provider has refused, or was not reached: the orders stay open. `charge` is
    per order. `once`: it was not charged if the request was answered before.
    """

    order_ids: Sequence[UUID]
    tries: Sequence[int]
    number: int
    final: bool
    request_hash: str
    request: Mapping[str, Any]
    status: int
    headers: Mapping[str, str]
    body: bytes
    charge: Decimal
    found: bool
    once: bool = False


def read_order(company_id: int, row: Mapping[str, Any], buying: Buying) -> Order:
    """The order that `begin` has read as JSON."""
    return Order(
        id=UUID(row["id"]),
        company_id=company_id,
        price=Decimal(row["price"]),
        made_at=datetime.fromisoformat(row["made_at"]),
        sent_at=row["sent_at"] and datetime.fromisoformat(row["sent_at"]),
        lost=row["lost"],
        closed=row["closed"],
        buying=buying,
        slot=row["slot"],
        wait_s=row["wait_s"],
        probing=row["probing"],
    )


def answers_by_order(rows: Iterable[dict[str, Any]]) -> dict[UUID, list[KeptAnswer]]:
    """The answers that KEPT has read, by their order."""
    found: dict[UUID, list[KeptAnswer]] = {}
    for row in rows:
        found.setdefault(row.pop("order_id"), []).append(KeptAnswer(**row))
    return found


def receipt_arrays(receipts: Sequence[Receipt]) -> dict[str, list[Any]]:
    """The receipts as parallel arrays, a place per order; the body is kept once per call."""
    each = [(r, i, o) for r in receipts for i, o in enumerate(r.order_ids)]
    return {
        "order_ids": [order_id for _, _, order_id in each],
        "numbers": [r.number for r, _, _ in each],
        "tries": [r.tries[i] for r, i, _ in each],
        "finals": [r.final for r, _, _ in each],
        "hashes": [r.request_hash for r, _, _ in each],
        "requests": [json.dumps(r.request) if not i else "{}" for r, i, _ in each],
        "statuses": [r.status for r, _, _ in each],
        "headers": [json.dumps(dict(r.headers)) if not i else "{}" for r, i, _ in each],
        "bodies": [r.body if not i else None for r, i, _ in each],
        "shares": [r.order_ids[0] if i else None for r, i, _ in each],
        "charges": [r.charge for r, _, _ in each],
        "founds": [r.found for r, _, _ in each],
        "onces": [r.once for r, _, _ in each],
    }
