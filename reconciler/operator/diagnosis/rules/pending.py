"""The reasons that a PENDING row is not claimed yet."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from reconciler.contract.claimed import LIMIT
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import COUNTED, NextClaim, RowFacts
from reconciler.operator.diagnosis.rules import loop, money, provider, step
from reconciler.operator.wording import counted, operand, since, until
from reconciler.provider_state import pace_text


def only_the_claim_decides(row: RowFacts) -> bool:
    """Whether only the step's capacity and the row's place in line decide about the row."""
    return (
        row.status == Status.PENDING
        and row.batch_status == BatchStatus.RUNNING
        and not row.batch_paused
        and bool(row.enabled)
        and row.hold_kind is None
        and row.available_at <= row.now
        and not row.throttled
        and row.working_batch is None
        and not (row.limits and row.limits.closed)
    )


def cancel_unfinished(row: RowFacts) -> Iterator[Reason]:
    """The batch is cancelled, but this row is not: the cancel was interrupted."""
    if row.batch_status == BatchStatus.CANCELLED and row.status in (Status.PENDING, *IN_FLIGHT):
        says = "The cancel of the batch was interrupted before it reached this row"
        yield Reason(Code.CANCEL_UNFINISHED, says, f"tracer cancel {operand(row.batch)}")


def reasons(row: RowFacts) -> Iterator[Reason]:
    """The reasons in order: as long as one holds, the later ones do not matter."""
    if row.batch_paused:
        fix = f"tracer resume {operand(row.batch)}"
        yield Reason(Code.BATCH_PAUSED, "The batch is paused", fix)
    yield from step.switched_off(row)
    yield from loop.switched_off(row)
    if row.available_at > row.now:
        yield _not_yet_available(row)
    yield from loop.no_tick(row)
    yield from provider.closed(row)
    yield from _not_claimable(row)
    if row.full_caps and row.price:
        yield money.cap_holds(row.full_caps, row.step, row.price)
    if row.observed.workers_full:
        says = f"The worker host works on as many companies of {row.step} as it can"
        yield Reason(Code.WORKERS_FULL, f"{says}: the next ticks bring it more")
    if claim := row.next_claim:
        yield from provider.at_limit(row, claim)
        yield from _behind(row, claim)
        yield from _in_line(row, claim)
        yield _claimed_next(row)
    yield Reason(Code.IN_LINE, f"{row.step} waits for the next tick")


def later(at: datetime, now: datetime) -> Reason:
    """Rows wait after a failed attempt, or were asked to wait; the first of them goes out `at`."""
    says = f"Rows wait after a failed attempt: the next one goes out at {until(at, now)}"
    return Reason(Code.BACKOFF, says)


def _not_yet_available(row: RowFacts) -> Reason:
    """The row waits after a refused spawn, or after a failed attempt."""
    if row.not_spawned:
        says = waits_until(row.step, row.available_at, row.now, str(row.error))
        return Reason(Code.SPAWN_FAILED, says, row.observed.workers_fix or loop.DOCTOR)
    if row.error_kind == ErrorKind.RETRY_AFTER:
        asked = f"it was asked to wait, which costs no attempt: {row.error}"
        fix = f"tracer retry --waiting {operand(row.batch)}"
        return Reason(
            Code.ASKED_TO_WAIT, waits_until(row.step, row.available_at, row.now, asked), fix
        )
    error = f"{row.attempt_text} failed: {row.error}" if row.error else "an attempt failed"
    return Reason(Code.BACKOFF, waits_until(row.step, row.available_at, row.now, error))


def waits_until(step: str, available_at: datetime, now: datetime, why: str) -> str:
    """A sentence: the row may not be claimed before `available_at`, and why."""
    return f"{step} waits until {until(available_at, now)}: {why}"


def _not_claimable(row: RowFacts) -> Iterator[Reason]:
    name = row.step
    if row.throttled and row.held_until:
        says = f"{name} is throttled until {until(row.held_until, row.now)}, because workers did"
        fix = row.observed.workers_fix or loop.DOCTOR
        yield Reason(Code.THROTTLED, f"{says} not take all calls: {row.held_because}", fix)
    if row.working_batch:
        says = f"The batch {row.working_batch!r} has {name} of this company in flight"
        if row.price:
            says += ": its answer is paid once, and used here too if it is fresh"
        yield Reason(Code.COMPANY_IN_FLIGHT, says)
    if not row.max_in_flight:
        yield step.capacity_zero(name, _more_in_flight(row))
    elif row.in_flight - row.expired >= row.max_in_flight:
        used = f"{row.in_flight} in flight, of {row.max_in_flight}{_waiting_for_workers(row)}"
        says = f"The capacity of {name} is used up: {used}"
        yield Reason(Code.CAPACITY_USED_UP, says, _more_in_flight(row))


def _behind(row: RowFacts, claim: NextClaim) -> Iterator[Reason]:
    """The next claim does not reach the row."""
    takes = f"the next tick takes {_share(row, claim)}"
    if not claim.room and not row.expired:
        waits = "waits" if claim.higher == 1 else "wait"
        higher = f"at least {counted(claim.higher, COUNTED)} of {row.step} {waits} in batches of"
        fix = f"tracer priority {operand(row.batch, str(claim.highest))}"
        yield Reason(
            Code.HIGHER_PRIORITY, f"Not its turn: {higher} a higher priority, and {takes}", fix
        )
    # Each lease that has ended frees a place before the claim. Arriving rows only take places.
    places = claim.free + row.expired if row.expired else claim.mark + bool(claim.spare)
    if claim.ahead >= places:
        comes = "comes" if claim.ahead == 1 else "come"
        before = f"{counted(claim.ahead, COUNTED)} of this batch {comes} before it"
        fix_it = _more_in_flight(row) if _by_capacity(row, claim) else None
        yield Reason(Code.BEHIND_IN_BATCH, f"Not its turn: {before}, and {takes}", fix_it)


def _in_line(row: RowFacts, claim: NextClaim) -> Iterator[Reason]:
    """The next claim may take the row; that depends on facts which are not known yet."""
    says = f"{row.step} is in line for the next tick"
    if row.expired or claim.arriving:
        yield Reason(Code.IN_LINE, f"{says}, which first {_before_the_claim(row, claim)}")
    if claim.rival:
        rival = f"the same company is in line in the batch {claim.rival!r}"
        yield Reason(Code.IN_LINE, f"{says}, but {rival}, which goes first")
    if claim.ahead >= claim.mark:
        some = f"{claim.spare} of the {claim.sharing} batches of its priority"
        yield Reason(Code.IN_LINE, f"{says}, which takes one more row of {some}")


def _claimed_next(row: RowFacts) -> Reason:
    heard, silence = "", timedelta(seconds=2 * (row.idle_s or 0))
    if row.ticked_at and row.now - row.ticked_at > silence:
        heard = f"; the last one was at {since(row.ticked_at, row.now)}"
    return Reason(Code.CLAIMED_NEXT, f"Its turn has come: the next tick claims {row.step}{heard}")


def _share(row: RowFacts, claim: NextClaim) -> str:
    """How many rows of the step the next claim takes, and the limit that allows no more."""
    if _by_capacity(row, claim):
        why = f"{row.in_flight} of {row.max_in_flight} are in flight{_waiting_for_workers(row)}"
    elif claim.free == row.allowance:
        why = "it is throttled: workers did not take all its calls"
    elif row.limits and provider.by_rate(row, claim):
        why = f"{row.provider} is called at {pace_text(row.limits)}"
    elif row.limits and provider.by_concurrency(row, claim):
        why = f"at {row.provider}, {row.limits.at_a_time} calls may be under way"
    else:
        why = "a tick takes no more"
    shared = claim.sharing > 1 and claim.room
    each = f", {claim.mark} of each of {claim.sharing} batches" if shared else ""
    return f"{claim.free:,}{each} ({why})"


def _by_capacity(row: RowFacts, claim: NextClaim) -> bool:
    return claim.free == (row.max_in_flight or 0) - row.in_flight


def _before_the_claim(row: RowFacts, claim: NextClaim) -> str:
    """The next tick's work before its claim, if it changes the row's place in line; in words."""
    over = f"judges {row.expired} of {row.step} whose lease is over" if row.expired else ""
    more = f"brings {counted(claim.arriving, COUNTED)} to it" if claim.arriving else ""
    return " and ".join(filter(None, (over, more)))


def _waiting_for_workers(row: RowFacts) -> str:
    """A hint if at least half of the capacity is claimed but not begun, else nothing."""
    if 2 * row.waiting < (row.max_in_flight or 0) or not row.waiting:
        return ""
    return f", {row.waiting} of them not begun: the workers are the limit"


def _more_in_flight(row: RowFacts) -> str | None:
    """The command that raises the capacity enough for the next claim to take the row.

    None if no capacity is enough.
    """
    claim = row.next_claim
    before = claim.higher + max(1, claim.sharing) * (claim.ahead + 1) - 1 if claim else 0
    if before >= LIMIT or _waiting_for_workers(row):
        return None
    wanted = row.in_flight + before + 1
    rounding = 10 ** max(0, len(str(wanted)) - 2)
    return step.more_in_flight(row.step, -(-wanted // rounding) * rounding)
