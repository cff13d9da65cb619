"""What a step pays through: each call is noted before it is sent, and its answer kept before it is
read, so that nothing is paid for twice and nothing that was paid for is lost."""

import asyncio
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from reconciler.contract.orders import KeptAnswer, Order, Receipt
from reconciler.contract.recall import Recall
from reconciler.contract.secrets import masked_values
from workers.answer import (
    KEPT_OF_REFUSAL,
    UNREACHED,
    Answer,
    checked,
    reached_nobody,
    readable,
    unrepeated,
)
from workers.buying import Charge, Terms, charged
from workers.noting import AnswerLost, Journal, NothingKept, NotOurs, Unkept
from workers.raised import NotFound, RetryAfter

if TYPE_CHECKING:
    import aiohttp

SORTED = json.JSONEncoder(sort_keys=True)


class Paid:
    """The calls of one step for one company, or, of a bulk step, for many.

    Each request is sent once: an answer that is kept is handed out again. Requests of one company
    go out one after the other, so that at most one of them can have an unknown outcome.
    """

    def __init__(
        self,
        terms: Terms,
        orders: Sequence[Order],
        kept: Mapping[UUID, Sequence[KeptAnswer]],
        journal: Journal,
        session: "aiohttp.ClientSession | None" = None,
    ) -> None:
        self._terms, self._orders = terms, list(orders)
        self._kept = _common(self._orders, kept)
        self._journal, self._session = journal, session
        self._asked = 0  # requests so far
        self._bought = bool(self._kept)  # the price covers all requests
        self._lost = any(order.lost for order in orders)
        self._turn = asyncio.Lock()
        self._unsending: asyncio.Future[None] | None = None
        self.calls = 0  # that were sent

    @property
    def key(self) -> str:
        """The idempotency key of the next request: the order's id, the same in each attempt."""
        first = str(self._orders[0].id)
        return first if not self._asked else f"{first}-{self._asked}"

    async def get(self, url: str, **options: Any) -> Answer:
        """A GET: see `request`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Answer:
        """A POST: see `request`."""
        return await self.request("POST", url, **options)

    async def request(
        self, method: str, url: str, *, charge: Charge | None = None, **options: Any
    ) -> Answer:
        """Send a request, or hand out the answer that is kept for it.

        `options` are aiohttp's: `params`, `json`, `data`, `headers` …. `charge` says what an answer
        costs, per order, where the provider names that in it; by default it is the step's price.

        Raises:
            RetryAfter: the provider has answered 429, or 503 with Retry-After.
            ProviderRefused: it has answered 401, 402, 403 or 5xx.
            Exception: aiohttp's errors.
        """
        session = self._session
        if session is None:
            raise RuntimeError("there is no HTTP session here: use `paid.call`")
        headers = {self._terms.key_header: self.key} | dict(options.pop("headers", None) or {})

        async def send() -> Answer:
            once = {**options, "middlewares": (*options.get("middlewares", ()), unrepeated())}
            async with session.request(method, url, headers=headers, **once) as response:
                return Answer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await response.read(),
                )

        asked = {"method": method, "url": str(url)}
        asked |= {name: options[name] for name in ("params", "json", "data") if name in options}
        return await self._ask(asked, send, charge)

    async def call(
        self, function: Callable[[Any], Any], request: Any, *, charge: Charge | None = None
    ) -> Answer:
        """As `request`, for a provider's SDK: `function(request)` makes the call.

        It may be `async`; what it returns is the answer's JSON, None that there is nothing to find
        (404). Give the provider `paid.key` where it takes a key.

        Raises:
            RetryAfter: the function has raised it: the call was refused.
            Exception: whatever else it raises; what came of the call is unknown then.
        """

        async def send() -> Answer:
            try:
                if inspect.iscoroutinefunction(function):
                    found = await function(request)
                else:
                    found = await asyncio.to_thread(function, request)
            except NotFound:
                found = None
            body = json.dumps(found).encode()
            return Answer(404 if found is None else 200, {}, body)

        name = getattr(function, "__qualname__", type(function).__name__)
        return await self._ask({"call": name, "request": request}, send, charge)

    async def _ask(
        self,
        asked: Mapping[str, Any],
        send: Callable[[], Awaitable[Answer]],
        charge: Charge | None,
    ) -> Answer:
        async with self._turn:
            request = readable(asked)
            hashed = hashlib.sha256(SORTED.encode(request).encode()).hexdigest()
            if found := self._take(hashed):
                self._asked += 1
                return found
            if any(order.closed for order in self._orders):
                raise NothingKept
            asking = Asking(self._asked, hashed, request, charge)
            answer = await self._looked_up(asking) or await self._sent(send, asking)
            self._asked += 1
        return checked(answer)

    def _take(self, hashed: str) -> Answer | None:
        """The kept answer to the request; of a call for many, to the request of that number."""
        many = self._terms.bulk  # the others of the call may not be here
        for i, kept in enumerate(self._kept):
            if kept.request_hash == hashed or (many and kept.number == self._asked):
                del self._kept[i]
                return Answer(kept.status, kept.headers, bytes(kept.body), kept=True)
        return None

    async def _sent(self, send: Callable[[], Awaitable[Answer]], asking: "Asking") -> Answer:
        tries = await self._noted(asking)
        self.calls += 1
        self._lost = True
        try:
            answer = await send()
        except Exception as error:
            if isinstance(error, RetryAfter) or reached_nobody(error):
                await self._take_back(dict(zip(self._ids, tries, strict=True)), asking)
                self._lost = False
            raise
        self._lost = False
        await self._receive(answer, tries, asking)
        return answer

    async def _noted(self, asking: "Asking") -> list[int]:
        """Note that the call is about to be sent; returns which call of each order it is."""
        began = monotonic()
        noting = asyncio.ensure_future(self._journal.send(self._orders))
        try:
            tries = await asyncio.shield(noting)
            if monotonic() - began > self._journal.send_within_s:
                raise NotOurs(dict(zip(self._ids, tries, strict=True)))
            return tries
        except asyncio.CancelledError:
            noting.add_done_callback(lambda done: self._unsend(done, asking))
            raise
        except NotOurs as error:
            await self._take_back(error.noted, asking)
            raise

    def _unsend(self, noting: "asyncio.Future[list[int]]", asking: "Asking") -> None:
        """What is noted now is not sent: nobody waits for it any more."""
        if not noting.cancelled() and not noting.exception():
            noted = dict(zip(self._ids, noting.result(), strict=True))
            self._unsending = asyncio.ensure_future(self._take_back(noted, asking))

    async def _take_back(self, noted: Mapping[UUID, int], asking: "Asking") -> None:
        """Keep that calls which were noted have reached nobody."""
        if noted:
            receipt = asking.receipt(list(noted), list(noted.values()), Answer(UNREACHED))
            await self._journal.receive(receipt)

    @property
    def _ids(self) -> list[UUID]:
        return [order.id for order in self._orders]

    async def _looked_up(self, asking: "Asking") -> Answer | None:
        """What the provider says of an order whose answer never came, None if it has no such.

        Raises:
            AnswerLost: nobody can be asked, and the call cannot be repeated.
        """
        if not self._lost or self._terms.recall == Recall.KEY:
            return None
        if self._terms.recall != Recall.LOOKUP or self._terms.lookup is None:
            raise AnswerLost
        found = await self._terms.lookup(self._orders[0])
        answer: Answer | None = found
        if found is not None and not isinstance(found, Answer):
            answer = Answer(200, {}, json.dumps(found).encode())
            asking = replace(asking, charge=None)  # it does not say what it costs: the price
        if answer:
            checked(answer)  # a lookup that was refused has said nothing
            await self._receive(answer, [0] * len(self._orders), asking)
        self._lost = False
        return answer

    async def _receive(self, answer: Answer, tries: list[int], asking: "Asking") -> None:
        default = Decimal(0)
        if not (self._bought or answer.refused):
            default = self._terms.charge(answer)
        cost, wrong = charged(answer, asking.charge, default)
        once = self._terms.recall == Recall.KEY or not any(tries)
        receipt = asking.receipt(self._ids, tries, answer, cost, once=once)
        # A step that is timed out here has paid: what it has bought is kept all the same.
        await self._journal.receive(receipt)
        self._bought = self._bought or cost > 0
        if wrong:
            raise wrong


@dataclass(frozen=True)
class Asking:
    """A request: its place among those of one run of the step, and what it asks."""

    number: int
    hashed: str
    request: Mapping[str, Any]
    charge: Charge | None

    def receipt(
        self,
        order_ids: Sequence[UUID],
        tries: Sequence[int],
        answer: Answer,
        cost: Decimal = Decimal(0),
        *,
        once: bool = False,
    ) -> Receipt:
        """The receipt of an answer to it."""
        return Receipt(
            order_ids=order_ids,
            tries=tries,
            number=self.number,
            final=not answer.refused,
            request_hash=self.hashed,
            request=self.request,
            status=answer.status,
            headers=dict(masked_values(dict(answer.headers))),
            body=answer.body[:KEPT_OF_REFUSAL] if answer.refused else answer.body,
            charge=cost,
            found=answer.status < 400,
            once=once,
        )


def unkept(terms: Terms, session: "aiohttp.ClientSession | None" = None) -> Paid:
    """A `Paid` that sends each request, and keeps nothing."""
    order = Order(uuid4(), 1, terms.price, datetime.now(UTC))
    return Paid(terms, [order], {}, Unkept(), session)


def _common(orders: Sequence[Order], kept: Mapping[UUID, Sequence[KeptAnswer]]) -> list[KeptAnswer]:
    """The answers that are kept for all of the orders."""
    if not orders or any(order.id not in kept for order in orders):
        return []
    first, *others = (kept[order.id] for order in orders)
    return [a for a in first if all(any(b.number == a.number for b in o) for o in others)]
