"""What chaos may not change of money: the provider's own account, and the books beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from reconciler.operator.seeding.batch import Spending
from tests.standins.poison import PRICE, cost
from tests.standins.provider import DROP, Provider

IN_FLIGHT = 20  # calls at a time, so that the cap has room for the last ones
LOST = 20  # of so many companies, one's first answer is lost
Ask = Callable[[str], object]

# Whether all scopes of the caps have booked {account}, and nothing else: days and months together.
CAPS = """
SELECT bool_and((reserved, spent, beyond) = (0, {account}, 0)) AND count(*) = 4 FROM (
    SELECT sum(reserved) AS reserved, sum(spent) AS spent, sum(beyond) AS beyond
    FROM caps GROUP BY scope) per_scope
"""


@contextmanager
def provider_of(companies: int) -> Iterator[Provider]:
    """A provider that honours keys, and loses some answers after it has charged them."""
    with Provider(honours_keys=True).running() as provider:
        for line in range(0, companies, LOST):
            provider.do(str(line), DROP)
        yield provider


def bill(companies: int) -> Decimal:
    """What each of the companies costs once, together."""
    return sum((cost(str(line)) for line in range(companies)), Decimal(0))


def spending(companies: int) -> Spending:
    """A cap that fits the bill, and what is reserved above it for the calls under way."""
    return Spending(cap=bill(companies) + IN_FLIGHT * PRICE)


def agree(ask: Ask, provider: Provider, companies: int) -> dict[str, object]:
    """Hold orders, caps and the days against the provider's account, to the cent; the figures."""
    assert len(provider.charges) == companies
    assert set(provider.charges.values()) == {1}, "each company is charged once"
    account = bill(companies)
    assert ask("SELECT sum(settled) FROM orders") == account
    assert ask("SELECT count(*) FROM orders WHERE answered_at IS NOT NULL") == companies
    assert ask("SELECT count(*) FROM orders WHERE settled_at IS NULL") == 0
    assert ask("SELECT count(DISTINCT order_id) FROM results.answers WHERE final") == companies
    assert ask(CAPS.format(account=account))
    assert ask("SELECT sum(charged) FROM spend") == account
    assert ask("SELECT sum(bought) FROM spend") == companies
    assert ask("SELECT sum(unknown) FROM spend") == 0
    return {"charged": str(account), "paid_calls": provider.calls.total()}
