"""Caps of spend: which ones an order counts against, and how many orders they have room for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

ALWAYS = date(1, 1, 1)  # `since` of a scope without periods
ALL = "all"
# Of a client, as a regular expression. Without `/`: that is before the period of a provider's cap.
CLIENT_NAME = "^[a-z0-9][a-z0-9._-]{0,62}$"
Scope = tuple[str, date]  # of `caps`: the scope, and the first day of its period


@dataclass(frozen=True)
class Purchase:
    """Orders that are wanted for one step of one batch, or of a trial, at `price` each.

    `client`: whose batch it is, if that is known.
    """

    step_name: str
    batch_id: int | None
    client: str | None
    provider: str | None
    price: Decimal
    orders: int

    def scopes(self, at: datetime) -> list[Scope]:
        """What these count against, if they are made at `at`."""
        return scopes(self.batch_id, self.client, self.provider, at)


def batch_scope(batch_id: int) -> str:
    """The scope of a batch."""
    return f"batch:{batch_id}"


def client_scope(client: str) -> str:
    """The scope of a client: all of its batches."""
    return f"client:{client}"


def provider_scope(provider: str, per: str) -> str:
    """The scope of a provider; `per` is "day" or "month"."""
    return f"provider:{provider}/{per}"


def scopes(
    batch_id: int | None, client: str | None, provider: str | None, at: datetime
) -> list[Scope]:
    """What an order that is made at `at` counts against; days and months are those of UTC."""
    today = at.astimezone(UTC).date()
    found = [(ALL, ALWAYS)]
    if batch_id is not None:
        found.append((batch_scope(batch_id), ALWAYS))
    if client is not None:
        found.append((client_scope(client), ALWAYS))
    if provider is not None:
        found.append((provider_scope(provider, "day"), today))
        found.append((provider_scope(provider, "month"), today.replace(day=1)))
    return found


def scopes_of(purchases: Iterable[Purchase], at: datetime) -> list[Scope]:
    """All that these count against, each once, in the order in which they are locked."""
    return sorted({scope for p in purchases for scope in p.scopes(at)})


def allot(
    purchases: Sequence[Purchase], left: Mapping[Scope, Decimal | None], at: datetime
) -> list[int]:
    """How many of each purchase's orders the caps have room for; the first come first.

    `left` is what each scope may still cost, None without a limit.
    """
    room = dict(left)
    allowed = []
    for wanted in purchases:
        counts = [room[scope] for scope in wanted.scopes(at)]
        orders = min([wanted.orders, *_affordable(counts, wanted.price)])
        for scope in wanted.scopes(at):
            amount = room[scope]
            room[scope] = None if amount is None else amount - orders * wanted.price
        allowed.append(orders)
    return allowed


def _affordable(left: Iterable[Decimal | None], price: Decimal) -> Iterator[int]:
    for amount in left:
        if amount is not None and price > 0:
            yield max(0, int(amount // price))


def reserved(
    purchases: Sequence[Purchase], allowed: Sequence[int], at: datetime
) -> dict[Scope, Decimal]:
    """What the allowed orders reserve, by scope."""
    amounts: dict[Scope, Decimal] = {}
    for wanted, orders in zip(purchases, allowed, strict=True):
        for scope in wanted.scopes(at):
            amounts[scope] = amounts.get(scope, Decimal(0)) + orders * wanted.price
    return amounts
