"""Doctor's checks of money and of providers: what keeps rows from buying, what nobody knows."""

from decimal import Decimal

from reconciler.contract.limits import PauseKind
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.rules import money, provider
from reconciler.operator.money.full import read_all_waiting, read_full_caps
from reconciler.operator.money.orders import Wanted, lost
from reconciler.operator.read_only import read_only_store
from reconciler.operator.sql import money as queries
from reconciler.provider_state import Standing, read_states


def caps() -> str | Reason:
    """No row of a running batch waits for a cap."""
    with read_only_store() as store:
        worked = store.rows(queries.WORKED)
        waiting = read_all_waiting(store, worked)
        full = read_full_caps(store, waiting, worked[0]["now"]) if waiting else []
    return money.caps_full(full) if full else "no row waits for one"


def providers() -> str | Reason:
    """No provider is paused, but by an operator."""
    with read_only_store() as store:
        states = read_states(store)
    paused = [state for state in states if state.standing is Standing.PAUSED]
    if ill := [state for state in paused if state.pause_kind != PauseKind.OPERATOR]:
        return provider.paused(ill)
    told = [reason.says for state in states if (reason := provider.not_open(state, ask=False))]
    return ". ".join(told) or "none is paused"


def orders() -> str | Reason:
    """Of every call it is known whether it was charged, or it is waited for."""
    with read_only_store() as store:
        found = lost(store, Wanted(unknown=True))
    if count := sum(row["rows"] for row in found):
        return money.orders_unknown(count, sum((row["price"] for row in found), Decimal(0)))
    return "of every call it is known what it cost"


def prices() -> str | Reason:
    """No provider has lately charged more than a step's price."""
    with read_only_store() as store:
        found = store.rows(queries.DEARER)
    return money.prices_too_low(found) if found else "none was passed in the last 30 days"
