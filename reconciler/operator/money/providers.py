"""The providers as people and programs see them: limits, state, what waits, what was spent."""

from datetime import datetime
from decimal import Decimal

from reconciler.contract.database import Row
from reconciler.contract.limits import documents, written
from reconciler.operator.money.provider_settings import state_document
from reconciler.operator.sql import money as money_queries
from reconciler.operator.sql import providers as queries
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural, span
from reconciler.provider_state import ProviderState, rate_text, read_states

COUNTED = 10_001  # rows that wait are counted up to this


def read_providers(store: OperatorStore) -> list[tuple[ProviderState, Row]]:
    """Each provider, and its row for programs.

    `provider`, its `steps` with their `price`, `fresh_for_s` and `recall`, `spent_today`,
    `spent_this_month` (days are those of UTC), `keep_for_s`; `limit` as it is typed, `windows`,
    `max_concurrent`, `burst`, what was learned, its state, calls `under_way`, rows `waiting`.
    """
    states = {state.name: state for state in read_states(store)}
    waiting = {row["provider"]: row["rows"] for row in store.rows(queries.WAITING, counted=COUNTED)}
    found = []
    for row in store.rows(money_queries.PROVIDERS):
        if state := states.get(row["provider"]):  # one that is new has no state yet
            steps = [{**step, "price": Decimal(step["price"])} for step in row["steps"]]
            waits = {"waiting": waiting.get(state.name, 0)}
            found.append((state, {**row, "steps": steps, **limits_document(state), **waits}))
    return found


def limits_document(state: ProviderState) -> Row:
    """A provider's limits and its state, for programs."""
    return {
        "limit": written(state.windows) if state.windows else None,
        "windows": documents(state.windows),
        "max_concurrent": state.max_concurrent,
        "burst": state.burst,
        "learned_rate": state.learned_rate,
        "refused_rate": state.ceiling,
        "refusals": state.refusals,
        "refused_at": state.refused_at,
        **state_document(state),
        "under_way": state.under_way,
    }


def limit_text(state: ProviderState) -> str:
    """Its limit in words: as it was set, as it was learned, or that none is known."""
    parts = [written(state.windows)] if state.windows else []
    if state.learned_rate is not None:
        parts.append(f"learned {rate_text(state.learned_rate)}{_refused(state)}")
    return ", now ".join(parts) or "none known"


def _refused(state: ProviderState) -> str:
    """What has been refused, and when."""
    if not state.refusals:
        return ""
    rate = "" if state.ceiling is None else f"{rate_text(state.ceiling)} was refused; "
    last = _ago(state.refused_at, state.now)
    return f" ({rate}{plural(state.refusals, 'refusal', 'refusals')}{last})"


def _ago(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else f", the last {span(now - moment)} ago"
