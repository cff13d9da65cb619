"""A provider that outlives the programs that buy at it, and keeps its own account."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from reconciler.contract.orders import Order
from reconciler.contract.recall import Recall
from reconciler.contract.results import Company
from tests.system.crash import Probe, Program
from workers.buying import Terms
from workers.kit import Paid, RetryAfter, Step

PRICE = 2


@dataclass(frozen=True)
class Deal:
    """How the first step of a scenario buys, and what the provider does.

    `acts`: by company, what is done with its first calls, before one is answered: "refused", or
    "lost" (charged, but its answer never comes). Of a call for many, the first company counts.
    `bulk`: for how many companies a call is. `limits`: what is known of the provider at first, as
    columns of `providers`.
    """

    recall: Recall
    acts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bulk: int | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)

    def made(self, step: Step, provider: "Provider", program: Program | None) -> Step:
        """The step as one that buys so; `program` may die in its lookup."""
        paid = None if self.recall is Recall.AGAIN else "paid"
        lookup = partial(provider.look_up, program) if self.recall is Recall.LOOKUP else None
        return replace(
            step,
            signature=replace(step.signature, paid=paid),
            provider="acme",
            recall=self.recall,
            bulk=self.bulk,
            terms=Terms(Decimal(PRICE), lookup=lookup),
        )


@dataclass
class Provider:
    """Charges every call, but none whose key it knows if it honours keys; says of a key whether it
    has come. `charges`: by company, how often it was charged."""

    probe: Probe
    deal: Deal | None
    charges: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)  # by the first company of each
    keys: set[str] = field(default_factory=set)

    async def answer(
        self, program: Program | None, key: str, companies: Sequence[str]
    ) -> dict[str, Any]:
        """What comes of one call; the program may die before it, or before its answer."""
        act = self._cross(program, "call of the provider", lambda: self._charge(key, companies))
        if act == "refused":
            raise RetryAfter(0, "too many")
        if act == "lost":
            raise ConnectionResetError("the answer never came")
        return {"companies": companies}

    async def look_up(self, program: Program | None, order: Order) -> dict[str, Any] | None:
        """What has become of an order, None if it has not come."""
        came = self._cross(program, "lookup", lambda: str(order.id) in self.keys)
        return {"order": str(order.id)} if came else None

    def _charge(self, key: str, companies: Sequence[str]) -> str:
        assert self.deal
        acts, number = self.deal.acts.get(companies[0], ()), self.calls[companies[0]]
        self.calls[companies[0]] += 1
        act = acts[number] if number < len(acts) else "answered"
        known = self.deal.recall is Recall.KEY and key in self.keys
        if act != "refused" and not known:
            self.charges.update(companies)
            self.keys.add(key)
        return act

    def _cross(self, program: Program | None, what: str, act: Callable[[], Any]) -> Any:
        return self.probe.cross(program, what, act) if program else act()


def paying(
    provider: Provider, program: Program | None, function: Callable[[Company], Any], *, bulk: bool
) -> Callable[..., Any]:
    """A step that asks the provider first, and then does for each company what `function` does."""

    async def for_one(company: Company, paid: Paid) -> Any:
        await paid.call(partial(provider.answer, program, paid.key), [company.key])
        return function(company)

    async def for_many(companies: list[Company], paid: Paid) -> dict[int, Any]:
        keys = [company.key for company in companies]
        answer = await paid.call(partial(provider.answer, program, paid.key), keys)
        known = answer.json()["companies"]
        return {company.id: function(company) for company in companies if company.key in known}

    return for_many if bulk else for_one
