"""Why a PENDING row is not claimed yet, and who comes before it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from reconciler.contract.claimed import LIMIT
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import COUNTED, NextClaim, RowFacts
from reconciler.operator.diagnosis.rules import loop, step
from reconciler.operator.wording import counted, operand, since, until


def only_the_claim_decides(row: RowFacts) -> bool:
    """Whether nothing but the capacity and the next claim decides on the row."""
    return (
        row.status == Status.PENDING
        and row.batch_status == BatchStatus.RUNNING
        and not row.batch_paused
        and bool(row.enabled)
        and row.available_at <= row.now
        and not row.throttled
        and row.working_batch is None
    )


def cancel_unfinished(row: RowFacts) -> Iterator[Reason]:
    """The batch was cancelled, and this row was not."""
    if row.batch_status == BatchStatus.CANCELLED and row.status in (Status.PENDING, *IN_FLIGHT):
        says = "The batch was cancelled, and the cancel ended before it came to this row"
        yield Reason(Code.CANCEL_UNFINISHED, says, f"tracer cancel {operand(row.batch)}")


def reasons(row: RowFacts) -> Iterator[Reason]:
    """In the order in which one keeps the next from counting."""
    if row.batch_paused:
        fix = f"tracer resume {operand(row.batch)}"
        yield Reason(Code.BATCH_PAUSED, "The batch is paused", fix)
    yield from step.switched_off(row)
    yield from loop.switched_off(row)
    if row.available_at > row.now:
        yield _not_yet(row)
    yield from loop.no_tick(row)
    yield from _kept_from_the_claim(row)
    if claim := row.next_claim:
        yield from _behind(row, claim)
        yield from _in_line(row, claim)
        yield _claimed_next(row)
    yield Reason(Code.IN_LINE, f"{row.step} waits for the next tick")


def _not_yet(row: RowFacts) -> Reason:
    """It waits after a spawn that was not taken, or an attempt that failed."""
    if row.not_spawned:
        says = waits_until(row.step, row.available_at, row.now, str(row.error))
        return Reason(Code.SPAWN_FAILED, says, row.observed.workers_fix or loop.DOCTOR)
    error = f"{row.attempt_of} failed: {row.error}" if row.error else "an attempt failed"
    return Reason(Code.BACKOFF, waits_until(row.step, row.available_at, row.now, error))


def waits_until(step: str, available_at: datetime, now: datetime, since: str) -> str:
    """That a row may not be claimed before a moment, and why."""
    return f"{step} waits until {until(available_at, now)}, since {since}"


def _kept_from_the_claim(row: RowFacts) -> Iterator[Reason]:
    name = row.step
    if row.throttled and row.held_until:
        says = f"No {name} is spawned until {until(row.held_until, row.now)}, since the last spawns"
        fix = row.observed.workers_fix or loop.DOCTOR
        yield Reason(Code.THROTTLED, f"{says} were not all taken: {row.held_because}", fix)
    if row.working_batch:
        says = f"The batch {row.working_batch!r} has {name} of this company in flight"
        yield Reason(Code.COMPANY_IN_FLIGHT, says)
    if not row.max_in_flight:
        yield step.capacity_zero(name, _more_in_flight(row))
    elif row.in_flight - row.expired >= row.max_in_flight:
        used = f"{row.in_flight} in flight, of {row.max_in_flight}{_starved(row)}"
        says = f"The capacity of {name} is used up: {used}"
        yield Reason(Code.CAPACITY_USED_UP, says, _more_in_flight(row))


def _behind(row: RowFacts, claim: NextClaim) -> Iterator[Reason]:
    """The next claim does not take it."""
    takes = f"the next tick takes {_share(row, claim)}"
    if not claim.room and not row.expired:
        wait = (
            f"at least {counted(claim.higher, COUNTED)} of {row.step} wait in batches of a higher"
        )
        fix = f"tracer priority {operand(row.batch, str(claim.highest))}"
        yield Reason(Code.HIGHER_PRIORITY, f"Not its turn: {wait} priority, and {takes}", fix)
    # Leases that the tick finds over free as many places; what it brings only takes some.
    places = claim.free + row.expired if row.expired else claim.mark + bool(claim.spare)
    if claim.ahead >= places:
        before = f"{counted(claim.ahead, COUNTED)} of this batch come before it"
        fix_it = _more_in_flight(row) if _by_capacity(row, claim) else None
        yield Reason(Code.BEHIND_IN_BATCH, f"Not its turn: {before}, and {takes}", fix_it)


def _in_line(row: RowFacts, claim: NextClaim) -> Iterator[Reason]:
    """The next claim may take it, by what is not known before the tick."""
    says = f"{row.step} is in line for the next tick"
    if row.expired or claim.arriving:
        yield Reason(Code.IN_LINE, f"{says}, which first {_first(row, claim)}")
    if claim.rival:
        rival = f"so is that of the same company in the batch {claim.rival!r}"
        says += f", and {rival}, which goes first where both would be taken"
        yield Reason(Code.IN_LINE, says)
    if claim.ahead >= claim.mark:
        some = f"{claim.spare} of the {claim.sharing} batches of its priority"
        yield Reason(Code.IN_LINE, f"{says}, which takes one more row of {some}")


def _claimed_next(row: RowFacts) -> Reason:
    heard, silence = "", timedelta(seconds=2 * (row.idle_s or 0))
    if row.ticked_at and row.now - row.ticked_at > silence:
        heard = f"; the last one was at {since(row.ticked_at, row.now)}"
    return Reason(Code.CLAIMED_NEXT, f"Its turn has come: the next tick claims {row.step}{heard}")


def _share(row: RowFacts, claim: NextClaim) -> str:
    """What the next claim takes of the step, and why no more."""
    if _by_capacity(row, claim):
        why = f"{row.in_flight} of {row.max_in_flight} are in flight{_starved(row)}"
    elif claim.free == row.allowance:
        why = "it is slowed down after spawns that were not all taken"
    else:
        why = "no tick takes more"
    shared = claim.sharing > 1 and claim.room
    each = f", {claim.mark} of each of {claim.sharing} batches" if shared else ""
    return f"{claim.free:,}{each} ({why})"


def _by_capacity(row: RowFacts, claim: NextClaim) -> bool:
    return claim.free == (row.max_in_flight or 0) - row.in_flight


def _first(row: RowFacts, claim: NextClaim) -> str:
    """What a tick does before its claim that changes who is taken."""
    over = f"judges {row.expired} of {row.step} whose lease is over" if row.expired else ""
    more = f"brings {counted(claim.arriving, COUNTED)} to it" if claim.arriving else ""
    return " and ".join(filter(None, (over, more)))


def _starved(row: RowFacts) -> str:
    """That much of the capacity is claimed and no worker has begun it, if so."""
    if 2 * row.waiting < (row.max_in_flight or 0) or not row.waiting:
        return ""
    return f", {row.waiting} of them not begun: the workers are the limit"


def _more_in_flight(row: RowFacts) -> str | None:
    """The command that raises the capacity so far that the next claim takes the row.

    None where no capacity does.
    """
    claim = row.next_claim
    before = claim.higher + max(1, claim.sharing) * (claim.ahead + 1) - 1 if claim else 0
    if before >= LIMIT or _starved(row):
        return None
    wanted = row.in_flight + before + 1
    rounding = 10 ** max(0, len(str(wanted)) - 2)
    return step.more_in_flight(row.step, -(-wanted // rounding) * rounding)
