"""What rows may cost that are worked again: how many calls, and the highest price of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reconciler.contract.database import Row
from reconciler.operator.money.amounts import shown
from reconciler.operator.wording import plural


@dataclass(frozen=True)
class Calls:
    """The `calls` of a step that may be paid, and the `price` of each, both at most."""

    step: str
    calls: int
    price: Decimal

    @property
    def highest_cost(self) -> Decimal:
        """What they cost together, at most."""
        return self.calls * self.price


def calls_of(counts: Iterable[Row]) -> list[Calls]:
    """The calls by step, of rows with `step`, `calls` and `price`; steps without a call are left
    out."""
    found: dict[str, Calls] = {}
    for row in counts:
        before = found.get(row["step"], Calls(row["step"], 0, row["price"]))
        found[row["step"]] = Calls(row["step"], before.calls + row["calls"], row["price"])
    return [calls for calls in found.values() if calls.calls]


def document(found: Sequence[Calls]) -> dict[str, Any]:
    """All of them for `--json`; `price` is that of the dearest call."""
    return {
        "calls": sum(calls.calls for calls in found),
        "price": max((calls.price for calls in found), default=Decimal(0)),
        "highest_cost": highest_cost(found),
    }


def highest_cost(found: Iterable[Calls]) -> Decimal:
    """What all of them cost, at most."""
    return sum((calls.highest_cost for calls in found), Decimal(0))


def buying(what: str, found: Sequence[Calls]) -> str:
    """A part of a sentence: `what` it buys; how many calls, at which price, and what all cost."""
    if not found:
        return "buys nothing"
    each = (
        f"{plural(calls.calls, 'call', 'calls')} of {calls.step} at {shown(calls.price)} each"
        for calls in found
    )
    return f"buys {what}: up to {', '.join(each)}, {shown(highest_cost(found))} at most"
