"""How the demo ends: what was asked, bought, used again and paid, for each of its two batches."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType

from cli.render import table, text
from reconciler.operator.money.booked import Booked
from workers.sample.account import Account


@dataclass(frozen=True)
class Round:
    """One seeding of the file: the batch, what the provider counted of it, what Tracer booked."""

    batch: str
    provider: Account
    booked: Booked

    @property
    def agrees(self) -> bool:
        """Whether Tracer has booked exactly what the provider has charged and sold."""
        sold = self.provider.found + self.provider.unknown
        return self.booked.charged == self.provider.charged and self.booked.bought == sold

    def document(self) -> dict[str, Any]:
        """The round of `--json`."""
        booked = asdict(self.booked)
        del booked["left"]
        shown = {"provider": asdict(self.provider), "booked": {**booked, "charged": self.cost}}
        return {"batch": self.batch, **shown, "agrees": self.agrees}

    @property
    def cost(self) -> int:
        """What Tracer has booked; the sample's prices are whole credits."""
        return int(self.booked.charged)


def ending(first: Round, second: Round) -> RenderableType:
    """A short table of both rounds, and whether the provider's own count says the same."""
    seen = (first.provider, second.provider)
    rows: list[list[Any]] = [
        ["calls to the provider", *(one.calls for one in seen)],
        ["  refused with 429 or 500, tried again", *(one.limited + one.errors for one in seen)],
        ["  not known there, no charge", *(one.unknown for one in seen)],
        ["  found and paid", *(one.found for one in seen)],
        ["answers used again, no call", first.booked.reused, second.booked.reused],
        ["credits spent, as Tracer has booked", first.cost, second.cost],
        ["credits charged, as the provider says", *(one.charged for one in seen)],
    ]
    shown = table(["The same file, seeded twice", "#first time", "#second time"], rows)
    paid = f"{first.cost + second.cost:,} credits"
    says = (
        f"Both counts agree: each answer was paid for once, {paid} in all."
        if first.agrees and second.agrees
        else "The two counts differ. That is a fault of Tracer: please report it."
    )
    return Group(shown, text(says))
