"""Why a row is where it is: one sentence from what is known. Nothing here reads a row."""

from collections.abc import Iterator
from shlex import quote

from reconciler.contract.error_kinds import NOT_SPAWNED
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.operator.diagnosis.row_facts import Facts, Reason
from reconciler.operator.diagnosis.rules.in_flight import SYNC, attempt, queued, running
from reconciler.operator.diagnosis.rules.loop import DOCTOR, RESUME_POLLING, switched_off, unticked
from reconciler.operator.diagnosis.rules.pending import more_in_flight, place_in_line, starved
from reconciler.operator.wording import operand, since, until

UPGRADE = "tracer db upgrade"


def explain(facts: Facts) -> Reason:
    """The one reason that holds the row: the first that applies."""
    return next(_reasons(facts))


def other_schema(found: str | None, needed: str) -> Reason:
    """Why nothing moves where the schema is at revision `found`: there no row can be looked at."""
    if found is None:
        return Reason("The database has no Tracer schema yet", UPGRADE)
    if found < needed:
        says = f"The schema is behind: it is at revision {found}, and this Tracer needs {needed}"
        return Reason(f"{says} to tick", UPGRADE)
    return Reason(
        f"This Tracer is behind: the schema is at revision {found}, and it knows {needed}; "
        "update Tracer"
    )


def waits_for_a_tick(facts: Facts) -> bool:
    """Whether the next tick would move the row, or decide on it, and none has come for a while."""
    late = facts.lease_expires_at is not None and facts.lease_expires_at <= facts.now
    seeds = facts.status == Status.COMPLETED and not facts.last
    moves = facts.status == Status.PENDING or late or seeds
    return moves and facts.quiet and facts.batch_status == BatchStatus.RUNNING


def waits_for_a_worker(facts: Facts) -> bool:
    """Whether a worker should have the row, or was not there when it was spawned."""
    refused = facts.status == Status.PENDING and facts.error_kind in NOT_SPAWNED
    held = facts.held_until is not None and facts.held_until > facts.now
    works = facts.status == Status.IN_PROGRESS and not facts.call_id
    return facts.status == Status.QUEUED or works or refused or held


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.batch_status == BatchStatus.CANCELLED and facts.status in (Status.PENDING, *IN_FLIGHT):
        yield Reason(
            "The batch was cancelled, and the cancel ended before it came to this row",
            f"tracer cancel {operand(facts.batch)}",
        )
    match facts.status:
        case Status.FAILED:
            yield _failed(facts)
        case Status.CANCELLED:
            yield Reason(f"{facts.step} was cancelled by an operator{_when_ended(facts)}")
        case Status.COMPLETED:
            yield from _completed(facts)
        case Status.PENDING:
            yield from _pending(facts)
        case Status.QUEUED:
            yield from queued(facts)
        case Status.IN_PROGRESS:
            yield from running(facts)


def _failed(facts: Facts) -> Reason:
    why = f": {facts.error}" if facts.error else ""
    fixes = [f"tracer retry --company={quote(facts.key)} {operand(facts.batch)}"]
    if facts.batch_paused:
        fixes.append(f"tracer resume {operand(facts.batch)}")
    if facts.polling_paused:
        fixes.append(RESUME_POLLING)
    failed = f"{facts.step} FAILED{_when_ended(facts)}, at {attempt(facts)}"
    if facts.batch_status == BatchStatus.CANCELLED:
        return Reason(f"{failed}, and the batch was cancelled, so that it stays so{why}")
    return Reason(f"{failed}{why}", " && ".join(fixes))


def _completed(facts: Facts) -> Iterator[Reason]:
    step, when = facts.step, _when_ended(facts)
    if facts.last:
        yield Reason(f"All steps are done: {step}, the last one, was COMPLETED{when}")
    elif facts.batch_status == BatchStatus.CANCELLED:
        yield Reason(
            f"{step} was COMPLETED{when}, and the batch was cancelled before the next step"
        )
    else:
        yield from unticked(facts)
        yield Reason(f"{step} was COMPLETED{when}; the next tick takes it to the step after")


def _pending(facts: Facts) -> Iterator[Reason]:
    step, now = facts.step, facts.now
    if facts.batch_paused:
        yield Reason("The batch is paused", f"tracer resume {operand(facts.batch)}")
    if facts.enabled is None:
        yield Reason(f"The step {step} is not registered", SYNC)
    if not facts.enabled:
        yield Reason(f"The step {step} is disabled", f"tracer steps set {step} enabled=true")
    yield from switched_off(facts)
    if facts.available_at > now:
        spawn = facts.error_kind in NOT_SPAWNED
        failed = f"{attempt(facts)} failed: " if facts.error and not spawn else ""
        yield Reason(
            f"{step} waits until {until(facts.available_at, now)}, since "
            f"{failed}{facts.error or 'an attempt failed'}",
            _fix_workers(facts) if spawn else None,
        )
    yield from unticked(facts)
    if facts.held_until and facts.held_until > now:
        yield Reason(
            f"No {step} is spawned until {until(facts.held_until, now)}, since the last spawns "
            f"were not all taken: {facts.held_because}",
            _fix_workers(facts),
        )
    if facts.working_batch:
        yield Reason(f"The batch {facts.working_batch!r} has {step} of this company in flight")
    if not facts.max_in_flight:
        yield Reason(f"The capacity of {step} is set to 0", more_in_flight(facts))
    elif facts.in_flight - facts.expired >= facts.max_in_flight:
        yield Reason(
            f"The capacity of {step} is used up: {facts.in_flight} in flight, of "
            f"{facts.max_in_flight}{starved(facts)}",
            more_in_flight(facts),
        )
    yield (
        place_in_line(facts, facts.turn)
        if facts.turn
        else Reason(f"{step} waits for the next tick")
    )


def _fix_workers(facts: Facts) -> str:
    return facts.outside.workers_fix or DOCTOR


def _when_ended(facts: Facts) -> str:
    return f" at {since(facts.finished_at, facts.now)}" if facts.finished_at else ""
