"""The reasons about money: caps that are full, calls of unknown cost, prices that are too low."""

from collections.abc import Sequence
from decimal import Decimal

from reconciler.contract.database import Row
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.rules.step import SYNC
from reconciler.operator.money.amounts import digits, shown
from reconciler.operator.money.full import FullCap
from reconciler.operator.wording import operand, plural

SHOWN = 3  # of several caps; `tracer caps` has all


def cap_holds(caps: Sequence[FullCap], step: str, price: Decimal) -> Reason:
    """A row has no room in a cap; see `RowFacts.full_caps`. The fix makes room in all of them, for
    what may go before it too: a smaller one would move other rows."""
    full = [cap for cap in caps if cap.left < price]
    says = [_is_full(cap, f"{step} costs {shown(price)}") for cap in full]
    if most := max(full, key=lambda cap: cap.rows).rows:
        before = plural(most, "other row waits", "other rows wait")
        says.append(f"{before} for it too, and may go first")
    return Reason(Code.CAP_FULL, ". ".join(says), " && ".join(map(_raised, caps)))


def rows_wait(cap: FullCap) -> Reason:
    """The cap is full, and these rows wait for it."""
    waiting = plural(cap.rows, "row that waits costs", "rows that wait cost")
    return Reason(Code.CAP_FULL, _is_full(cap, f"{waiting} {shown(cap.cost)}"), _raised(cap))


def _is_full(cap: FullCap, why: str) -> str:
    has = f"{shown(cap.left)} left of {shown(cap.limit)}{_period(cap)}"
    return f"The cap of {cap.scope} is full: {has}, and {why}"


def _raised(cap: FullCap) -> str:
    """The command by which it has room for all."""
    return f"tracer caps set {operand(cap.scope)} {digits(cap.needs)}{_period(cap)}"


def _period(cap: FullCap) -> str:
    return f"/{cap.per}" if cap.per else ""


def caps_full(caps: Sequence[FullCap]) -> Reason:
    """All these caps are full; the fix raises the first ones."""
    reasons = [rows_wait(cap) for cap in caps[:SHOWN]]
    more = len(caps) - len(reasons)
    says = [reason.says for reason in reasons] + ([f"{more} more are full"] if more else [])
    fixes = [reason.fix for reason in reasons if reason.fix]
    return Reason(reasons[0].code, ". ".join(says), " && ".join(fixes))


def orders_unknown(orders: int, price: Decimal) -> Reason:
    """Calls were sent, no answer came, and nobody waits for one."""
    calls = plural(orders, "call may have been charged: its", "calls may have been charged: their")
    says = f"{calls} answer never came. Worth {shown(price)} in all"
    return Reason(Code.ORDERS_UNKNOWN, says, "tracer orders --unknown")


def prices_too_low(steps: Sequence[Row]) -> Reason:
    """Providers charge more for these steps than their prices say; see `DEARER`."""
    each = (
        f"{row['step']} has the price {shown(row['price'])}, and was charged up to "
        f"{shown(row['charged'])}: write price={digits(row['charged'])} in its @step"
        for row in steps
    )
    return Reason(Code.PRICE_TOO_LOW, ". ".join(each), SYNC)
