"""Why a row is where it is: one sentence from what is known. Nothing here reads a row."""

from collections.abc import Iterator

from reconciler.contract.facts import Conductor, Facts, Reason
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.contract.turn import more_in_flight, place_in_line
from reconciler.contract.wording import operand, since, until, when

HOST = "python -m workers.host"
DEPLOY_FLOW = "prefect deploy --all --no-prompt"
DEPLOY_APP = "modal deploy -m workers.app"
POLL_POOL = "prefect worker start --pool tracer --type process"
SYNC = "tracer steps sync"
UPGRADE = "tracer db upgrade"
DOCTOR = "tracer doctor"
RESUME_POLLING = "tracer interval resume"


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
    """Whether the next tick would move the row, or decide on it, and none has come for long."""
    late = facts.lease_expires_at is not None and facts.lease_expires_at <= facts.now
    seeds = facts.status == Status.COMPLETED and not facts.last
    moves = facts.status == Status.PENDING or late or seeds
    return moves and facts.silent and facts.batch_status == BatchStatus.RUNNING


def waits_for_a_worker(facts: Facts) -> bool:
    """Whether a worker should have the row, or was not there when it was spawned."""
    refused = facts.status == Status.PENDING and (facts.error or "").startswith("spawn")
    held = facts.held_until is not None and facts.held_until > facts.now
    return facts.status == Status.QUEUED or refused or held


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
            yield from _late(facts)
            yield from _queued(facts)
        case Status.IN_PROGRESS:
            yield from _late(facts)
            began = f" since {since(facts.started_at, facts.now)}" if facts.started_at else ""
            yield Reason(
                f"{facts.step} is running{began} on {_call(facts)}: {_attempt(facts)}, and its "
                f"lease runs until {_lease(facts)}"
            )


def _failed(facts: Facts) -> Reason:
    why = f": {facts.error}" if facts.error else ""
    retry = f"tracer retry --step {facts.step} {operand(facts.batch)}"
    return Reason(
        f"{facts.step} FAILED{_when_ended(facts)}, at {_attempt(facts)}{why}",
        None if facts.batch_status == BatchStatus.CANCELLED else retry,
    )


def _completed(facts: Facts) -> Iterator[Reason]:
    step, when = facts.step, _when_ended(facts)
    if facts.last:
        yield Reason(f"All steps are done: {step}, the last one, was COMPLETED{when}")
    elif facts.batch_status == BatchStatus.CANCELLED:
        yield Reason(
            f"{step} was COMPLETED{when}, and the batch was cancelled before the next step"
        )
    else:
        yield from _unticked(facts)
        yield Reason(f"{step} was COMPLETED{when}; the next tick takes it to the step after")


def _pending(facts: Facts) -> Iterator[Reason]:
    step, now = facts.step, facts.now
    if facts.batch_paused:
        yield Reason("The batch is paused", f"tracer resume {operand(facts.batch)}")
    if facts.enabled is None:
        yield Reason(f"The step {step} is not registered", SYNC)
    if not facts.enabled:
        yield Reason(f"The step {step} is disabled", f"tracer steps set {step} enabled=true")
    if facts.available_at > now:
        spawn = (facts.error or "").startswith("spawn")
        failed = f"{_attempt(facts)} failed: " if facts.error and not spawn else ""
        yield Reason(
            f"{step} waits until {until(facts.available_at, now)}, since "
            f"{failed}{facts.error or 'an attempt failed'}",
            _mend_workers(facts) if spawn else None,
        )
    yield from _unticked(facts)
    if facts.held_until and facts.held_until > now:
        yield Reason(
            f"No {step} is spawned until {until(facts.held_until, now)}, since the last spawns "
            f"were not all taken: {facts.held_because}",
            _mend_workers(facts),
        )
    if facts.working_batch:
        yield Reason(f"The batch {facts.working_batch!r} has {step} of this company in flight")
    if not facts.max_in_flight or facts.in_flight - facts.expired >= facts.max_in_flight:
        yield Reason(
            f"The budget of {step} is used up: {facts.in_flight} in flight, of "
            f"{facts.max_in_flight}",
            more_in_flight(facts),
        )
    yield (
        place_in_line(facts, facts.turn)
        if facts.turn
        else Reason(f"{step} waits for the next tick")
    )


def _queued(facts: Facts) -> Iterator[Reason]:
    step, why = facts.step, f": {facts.error}" if facts.error else ""
    if facts.enabled is None:
        yield Reason(f"The step {step} is no longer registered", SYNC)
    if facts.outside.workers_ready is False:
        yield Reason(
            f"Claimed, and not begun: {_missing_worker(facts)}. The lease of {_attempt(facts)} "
            f"runs until {_lease(facts)}",
            _mend_workers(facts),
        )
    yield Reason(
        f"Claimed, and not begun: {_call(facts)} has until {_lease(facts)} to begin {step}{why}"
    )


def _late(facts: Facts) -> Iterator[Reason]:
    """A lease that has ended is the next tick's to judge."""
    if facts.lease_expires_at and facts.lease_expires_at <= facts.now:
        yield from _unticked(facts)
        why = facts.error or "no worker has renewed its lease"
        yield Reason(
            f"{_attempt(facts).capitalize()} of {facts.step} is over, since {why}; the next tick "
            "decides on another one"
        )


def _unticked(facts: Facts) -> Iterator[Reason]:
    """Why no tick comes."""
    if facts.polling_paused:
        yield Reason("Polling is paused", RESUME_POLLING)
    if facts.silent:
        heard = f"since {since(facts.ticked_at, facts.now)}" if facts.ticked_at else "so far"
        prefect = facts.outside.prefect
        yield Reason(
            f"No reconciler has ticked {heard}{_cause(facts)}",
            CONDUCTOR_MENDS[prefect] if prefect else DOCTOR,
        )


# What brings a tick where Prefect's schedule is so.
CONDUCTOR_MENDS = {
    Conductor.UNKNOWN: "tracer up",
    Conductor.UNREACHABLE: "tracer reconcile --until-done",
    Conductor.NOT_DEPLOYED: DEPLOY_FLOW,
    Conductor.PAUSED: RESUME_POLLING,
    Conductor.NO_WORKER: POLL_POOL,
    Conductor.WELL: RESUME_POLLING,  # which starts a run
}


def _cause(facts: Facts) -> str:
    """What is wrong with Prefect, as the end of a sentence."""
    outside = facts.outside
    if outside.prefect is None:
        return ""
    if outside.prefect is not Conductor.WELL:
        return f": {outside.prefect}"
    run = outside.next_run_at
    due = f"its next run is due at {when(run, facts.now)}" if run else "it has planned no run"
    return f"; {outside.prefect}, and {due}"


def _missing_worker(facts: Facts) -> str:
    """Whom the call does not find, for a sentence."""
    if facts.outside.workers == "modal":
        return f"the function {facts.function} of the app {facts.app} is not deployed on Modal"
    return "no worker host is running here"


def _mend_workers(facts: Facts) -> str:
    if facts.outside.workers_ready is not False:
        return DOCTOR
    return DEPLOY_APP if facts.outside.workers == "modal" else HOST


def _attempt(facts: Facts) -> str:
    return f"attempt {facts.tries} of {facts.max_attempts or '?'}"


def _call(facts: Facts) -> str:
    return f"call {facts.call_id}" if facts.call_id else "a worker"


def _lease(facts: Facts) -> str:
    return until(facts.lease_expires_at, facts.now) if facts.lease_expires_at else "?"


def _when_ended(facts: Facts) -> str:
    return f" at {since(facts.finished_at, facts.now)}" if facts.finished_at else ""
