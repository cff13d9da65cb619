"""Amounts of money as people write and read them. Their unit is that of the steps' prices."""

import re
from decimal import Decimal

from reconciler.contract.errors import BadInput

AMOUNT = re.compile(r"\d+(?:\.\d+)?|\.\d+")
BELOW_ZERO = re.compile(f"-(?:{AMOUNT.pattern})")
LARGEST = Decimal(10) ** 15


def digits(amount: Decimal) -> str:
    """All its digits and no zeros behind them, for commands and programs: `1500`, `0.25`."""
    return _without_zeros(f"{amount:f}")


def shown(amount: Decimal | None) -> str:
    """The same for people, with commas: `1,500`. Nothing for None."""
    return "" if amount is None else _without_zeros(f"{amount:,f}")


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_amount(given: str, what: str = "An amount") -> Decimal:
    """The amount that is written so; `what` it is, for the error.

    Raises:
        BadInput: it is no amount from 0 to `LARGEST`.
    """
    if BELOW_ZERO.fullmatch(given):
        raise BadInput(f"{given} is below 0. {what} is 0 or more.")
    found = Decimal(given) if AMOUNT.fullmatch(given) else None
    if found is None or found > LARGEST:
        raise BadInput(f"{given!r} is not an amount: write 500, 10000 or 0.25, without commas.")
    return found
