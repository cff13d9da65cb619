"""The reasons that a provider is not called now: a pause, a limit, or a call that is planned."""

from collections.abc import Iterator, Mapping, Sequence

from reconciler.contract.limits import SPACED_S, PauseKind, Window, written
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import COUNTED, NextClaim, RowFacts
from reconciler.operator.wording import counted, operand, plural, until
from reconciler.provider_state import ProviderState, Standing, Waiting, pace_text

BECAUSE: Mapping[str, str] = {
    PauseKind.OPERATOR: "by an operator",
    PauseKind.ASKED: "as it has asked",
    PauseKind.REFUSED: "because it refuses calls, until somebody puts that right and resumes it",
    PauseKind.FAILING: "after faults of its own",
}


def not_open(state: ProviderState, ask: bool = True) -> Reason | None:
    """Why the provider is paused, is full, or is only tried; None if it is open.

    Without `ask`, the sentence asks for no command.
    """
    name = state.name
    why = f": {state.paused_why.rstrip('.')}" if state.paused_why else ""
    if state.standing is Standing.PAUSED:
        at, because = state.closed_until, BECAUSE.get(state.pause_kind or "")
        how = [f"until {until(at, state.now)}"] if at else []
        how += [because] if because else []
        says = f"The provider {name} is paused {', '.join(how)}".rstrip()
        return Reason(Code.PROVIDER_PAUSED, f"{says}{why}", resume(name))
    if state.standing is Standing.FULL and state.full_until:
        says = f"The provider {name} is full until {until(state.full_until, state.now)}: "
        says += f"its limit is {written(state.windows)}{'. If it allows more' if ask else ''}"
        return Reason(Code.PROVIDER_FULL, says, set_limit(name, _higher(state.windows)))
    if state.standing is Standing.PROBING:
        was = plural(state.failures, "time", "times in a row")
        says = f"The provider {name} was paused {was}{why}. One call at a time shows whether it"
        return Reason(Code.PROVIDER_PROBING, f"{says} is well again")
    return None


def closed(row: RowFacts) -> Iterator[Reason]:
    """Nothing of the row's provider is claimed."""
    if row.limits and row.limits.closed and (reason := not_open(row.limits)):
        yield reason


def at_limit(row: RowFacts, claim: NextClaim) -> Iterator[Reason]:
    """As many calls are under way as may be, or the row's call has to wait for its turn."""
    state = row.limits
    if state is None or row.expired:  # a lease that is over may make room before the claim
        return
    if state.busy:
        yield busy(state)
    reached = claim.mark + bool(claim.spare)
    if by_rate(row, claim) and (not claim.free or (claim.room and claim.ahead >= reached)):
        comes = "comes" if claim.ahead == 1 else "come"
        before = f", and {counted(claim.ahead, COUNTED)} of this batch {comes} before it"
        at = state.goes_out_at((claim.higher + claim.ahead) // row.calls_of)
        out = f"Its call goes out at {until(at, state.now)} at the earliest"
        says = f"{_takes(state)}{before if claim.ahead else ''}. {out}"
        yield Reason(Code.PROVIDER_RATE, says)


def by_rate(row: RowFacts, claim: NextClaim) -> bool:
    """Whether the next claim takes no more rows of the step because of the provider's rate."""
    calls = row.limits.next_calls if row.limits else None
    return calls is not None and claim.free >= (calls - 1) * row.calls_of


def by_concurrency(row: RowFacts, claim: NextClaim) -> bool:
    """Whether that is because of the calls that are under way."""
    state = row.limits
    if state is None or state.at_a_time is None:
        return False
    return claim.free == (state.at_a_time - state.under_way) * row.calls_of


def busy(state: ProviderState) -> Reason:
    """As many calls are under way as may be."""
    if state.failures and (reason := not_open(state)):
        return reason
    most = state.at_a_time or 0
    says = f"The provider {state.name} takes {plural(most, 'call', 'calls')} at a time, and "
    fix = f"tracer providers set {operand(state.name)} max_concurrent={2 * most}"
    return Reason(Code.PROVIDER_BUSY, f"{says}{state.under_way:,} are under way", fix)


def rows_wait(waiting: Waiting) -> Reason:
    """The provider holds these rows back: until when, if that is known."""
    state, rows = waiting.provider, plural(waiting.rows, "row waits", "rows wait")
    if state.closed and (reason := not_open(state)):
        return Reason(reason.code, f"{rows}. {reason.says}", reason.fix)
    if state.busy:
        reason = busy(state)
        return Reason(reason.code, f"{rows}. {reason.says}", reason.fix)
    at = until(waiting.until or state.now, state.now)
    says = f"{_takes(state)}: {rows}, the last one until {at} at least"
    return Reason(Code.PROVIDER_RATE, says)


def paused(states: Sequence[ProviderState]) -> Reason:
    """All these providers are paused, not by an operator; the fix resumes them."""
    reasons = [reason for state in states if (reason := not_open(state))]
    says = ". ".join(reason.says for reason in reasons)
    return Reason(reasons[0].code, says, " && ".join(resume(state.name) for state in states))


def call_planned(row: RowFacts) -> Iterator[Reason]:
    """A worker has the row, or gets it, and its call waits for its time."""
    if row.send_at and row.send_at > row.now:
        at = until(row.send_at, row.now)
        what = f"{row.step} waits for its turn at the provider {row.provider}"
        yield Reason(Code.CALL_PLANNED, f"{what}: its call goes out at {at}")


def resume(name: str) -> str:
    """The command that ends a pause."""
    return f"tracer providers resume {operand(name)}"


def set_limit(name: str, windows: Sequence[Window]) -> str:
    """The command that sets the limit."""
    return f"tracer providers set {operand(name)} limit={written(windows)}"


def _takes(state: ProviderState) -> str:
    return f"The provider {state.name} is called at {pace_text(state)}"


def _higher(windows: Sequence[Window]) -> list[Window]:
    """The windows with twice the calls in the long ones."""
    return [Window(w.seconds, w.limit * (1 + (w.seconds > SPACED_S))) for w in windows]
