"""Stands where the workers' store does when a step is tried: nothing is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID, uuid4

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.holds import Hold
from reconciler.contract.limits import Pause
from reconciler.contract.orders import Buying, KeptAnswer, Order, Receipt
from reconciler.contract.results import Company, StepResult
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Attempt, Failure
from workers.answer import UNREACHED

LEASE_S = 3600.0
# What is stored of a company: rows as JSON, by the name of their table.
Rows = dict[str, str]


class Books(Protocol):
    """Where the orders of a trial are kept. The verbs are those of the workers' store."""

    def send(self, order_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Note that calls are about to be sent; returns which of its order each is."""
        ...

    def receive(self, receipts: Sequence[Receipt]) -> None:
        """Keep answers."""
        ...

    def kept(self, order_ids: Sequence[UUID]) -> dict[UUID, list[KeptAnswer]]:
        """The answers that are kept."""
        ...


@dataclass(frozen=True)
class PaidCall:
    """A call that a step has sent through `paid`: its `request` as it is kept, without secrets.

    `status`: None where no answer came. `charged`: for this company, None where nobody knows.
    """

    step: str
    request: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    charged: Decimal | None = None


class TrialStore:
    """Stands where the workers' store does, and keeps what each attempt came to."""

    def __init__(
        self,
        companies: Sequence[Company],
        rows: Mapping[int, Rows],
        books: Books | None = None,
        orders: Mapping[int, Order] | None = None,
    ) -> None:
        """`orders` are in the `books`; for the other companies nothing is kept."""
        self._books, self._orders = books, orders or {}
        self._booked = {order.id for order in self._orders.values()}
        self._companies = {company.id: company for company in companies}
        self._rows = rows
        self._held: dict[str, Hold] = {}
        self._sent: dict[UUID, list[PaidCall]] = {}  # by order
        self._of_order: dict[UUID, int] = {}  # the company
        self.outcomes: dict[int, StepResult | Failure] = {}

    def calls(self, company_id: int) -> list[PaidCall]:
        """The paid calls that were sent for a company."""
        return [
            call
            for order_id, sent in self._sent.items()
            if self._of_order[order_id] == company_id
            for call in sent
        ]

    def begin(
        self,
        step_name: str,
        company_ids: Sequence[int],
        call_id: str | None,  # noqa: ARG002
        inputs: Mapping[str, type[StepResult]],
        *,
        alone: bool = False,  # noqa: ARG002
        buying: Buying | None = None,
    ) -> list[Attempt]:
        """An attempt for each company, with what is known of it."""
        begun = [
            Attempt(
                company=self._companies[i],
                step_name=step_name,
                batch_id=0,
                attempt=1,
                lease_s=LEASE_S,
                order=self._orders.get(i) or order_of(i, buying) if buying else None,
                inputs={
                    name: self._rows[i].get(str(table.__tablename__))
                    for name, table in inputs.items()
                },
            )
            for i in company_ids
        ]
        self._of_order |= {a.order.id: a.order.company_id for a in begun if a.order}
        return begun

    def send(self, attempts: Sequence[Attempt]) -> dict[UUID, int]:
        """Note each call, unless the step makes it without `paid`; it may be sent."""
        tries = {}
        booked = [a.order.id for a in attempts if a.order and a.order.id in self._booked]
        won = self._books.send(booked) if self._books and booked else {}
        for attempt in attempts:
            order = attempt.order
            if order and (order.id in won or order.id not in self._booked):
                sent = self._sent.setdefault(order.id, [])
                if not order.buying.by_result:
                    sent.append(PaidCall(attempt.step_name))
                tries[order.id] = won.get(order.id) or max(1, len(sent))
        return tries

    def receive(self, receipts: Sequence[Receipt]) -> None:
        """Note what came of the calls; without books, the answers are for the step alone."""
        booked = [r for r in receipts if self._booked.issuperset(r.order_ids)]
        if self._books and booked:
            self._books.receive(booked)
        for receipt in receipts:
            for order_id in receipt.order_ids:
                sent = self._sent[order_id]
                if receipt.status == UNREACHED:
                    sent.pop()
                    continue
                came = (receipt.request, receipt.status, receipt.charge)
                sent[-1] = PaidCall(sent[-1].step, *came)

    def kept(self, order_ids: Sequence[UUID]) -> dict[UUID, list[KeptAnswer]]:
        """What the books have."""
        return self._books.kept(order_ids) if self._books else {}

    def new_times(self, provider: str, calls: int) -> list[float]:  # noqa: ARG002
        """A trial's calls have no times."""
        return [0.0] * calls

    def pause_provider(self, provider: str, pause: Pause) -> None:
        """A trial makes few calls."""

    def note_recovered(self, provider: str) -> None:
        """A trial changes nothing."""

    def are_suspect(self, step_name: str, company_ids: Sequence[int]) -> bool:  # noqa: ARG002
        """No worker has died by them."""
        return False

    def lacks(
        self,
        table: type[StepResult],  # noqa: ARG002
        inputs: Sequence[type[StepResult]] = (),  # noqa: ARG002
    ) -> str | None:
        """No table is written."""
        return None

    def hold(self, step_name: str, hold: Hold) -> bool:
        """Keep why the step cannot be worked, for what it gives back."""
        self._held[step_name] = hold
        return True

    def is_held(self, step_name: str) -> bool:
        """Whether the step cannot be worked."""
        return step_name in self._held

    def release(self, step_name: str, company_ids: Sequence[int]) -> int:
        """They are nobody else's: what is given back has failed, if the step is held."""
        if held := self._held.get(step_name):
            self.outcomes.update(dict.fromkeys(company_ids, _held_up(held)))
        return 0

    def release_begun(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """They are nobody else's: what is given back has failed, if the step is held."""
        for attempt in attempts:
            if held := self._held.get(attempt.step_name):
                self.outcomes[attempt.company.id] = _held_up(held)
        return keys_of(attempts)

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """Nobody takes an attempt away."""
        return keys_of(attempts)

    def complete(
        self,
        attempts: Sequence[Attempt],
        results: Sequence[StepResult],
        version: str | None = None,  # noqa: ARG002
    ) -> set[tuple[str, int]]:
        """Keep the results.

        Raises:
            ValueError: a result cannot be written as JSON, or as UTF-8.
        """
        for result in results:
            row = result.model_dump(mode="json")
            json.dumps(row, allow_nan=False, ensure_ascii=False).encode()
        self.outcomes.update(zip((a.company.id for a in attempts), results, strict=True))
        return keys_of(attempts)

    def fail(
        self, attempts: Sequence[Attempt], failures: Sequence[Failure]
    ) -> set[tuple[str, int]]:
        """Keep why there is no result."""
        self.outcomes.update(zip((a.company.id for a in attempts), failures, strict=True))
        return keys_of(attempts)


def order_of(company_id: int, buying: Buying) -> Order:
    """A right to pay that nobody else knows of."""
    return Order(uuid4(), company_id, Decimal(0), datetime.now(UTC), buying=buying)


def _held_up(hold: Hold) -> Failure:
    return Failure(hold.reason, ends=Status.FAILED, kind=ErrorKind.PERMANENT)


def keys_of(attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
    """The step and the company of each."""
    return {(attempt.step_name, attempt.company.id) for attempt in attempts}
