"""How a step buys: its terms, read from the arguments of `@step`."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from reconciler.contract.durations import duration
from reconciler.contract.recall import Recall
from workers.answer import NOT_FOUND, Answer
from workers.providers import Provider
from workers.providers import provider as make_provider

Charge = Callable[[Answer], Decimal | float]


@dataclass(frozen=True)
class Terms:
    """On what terms a step buys: the parts of `@step` that its provider's answers are judged by."""

    price: Decimal = Decimal(0)
    bills_hits_only: bool = False
    key_header: str = "Idempotency-Key"
    lookup: Callable[..., Any] | None = None
    recall: Recall = Recall.NONE
    bulk: bool = False

    def charge(self, answer: Answer) -> Decimal:
        """What an answer costs by these terms."""
        found = answer.status < 400
        missed = answer.status in NOT_FOUND and not self.bills_hits_only
        return self.price if found or missed else Decimal(0)


def charged(
    answer: Answer, charge: Charge | None, default: Decimal
) -> tuple[Decimal, Exception | None]:
    """What an answer costs, and why the step's own `charge` could not say so."""
    if charge is None:
        return default, None
    try:
        return max(Decimal(0), Decimal(str(charge(answer)))), None
    except Exception as error:  # noqa: BLE001 - a stranger's function; the answer is kept first
        return default, error


def read_money(
    provider: str | None,
    price: float | str | Decimal,
    fresh_for: str | float | None,
    bills: str,
    recall: str,
    key_ttl: str | float,
    key_header: str,
) -> dict[str, Any]:
    """The fields of a `Step` that say how it buys: see `step`.

    Raises:
        ValueError: an argument is out of its bounds.
    """
    try:
        cost = Decimal(str(price))
    except InvalidOperation:
        cost = Decimal("nan")
    if not cost.is_finite() or cost < 0:
        raise ValueError(f"price is a number that is not below 0 (it is {price!r})")
    if bills not in ("call", "hit"):
        raise ValueError(f'bills is "call" or "hit" (it is {bills!r})')
    recalls = [Recall.KEY, Recall.LOOKUP, Recall.NONE]
    if recall not in recalls:
        raise ValueError(f"recall is one of {', '.join(recalls)} (it is {recall!r})")
    if provider is not None and not isinstance(provider, Provider):
        provider = make_provider(provider)
    return {
        "provider": provider,
        "fresh_for_s": None if fresh_for is None else duration(str(fresh_for)),
        "recall": Recall(recall),
        "key_ttl_s": duration(str(key_ttl)),
        "terms": Terms(cost, bills == "hit", key_header),
    }
