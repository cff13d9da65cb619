"""Why a row is where it is: one sentence from what the database knows. Nothing here reads a row."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from shlex import quote

from reconciler.contract.states import BatchStatus, Status

# A loop that has not ticked for longer has ended, or the machine that it runs on has.
SILENCE = timedelta(seconds=60)


@dataclass(frozen=True)
class Facts:
    """A company's newest row in a batch, and what can keep it there, as `queries.steer.EXPLAIN`
    reads it; the registry's columns are None where the step is not registered."""

    step: str
    status: str
    attempt: int
    available_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    call_id: str | None
    error: str | None
    batch: str
    last: bool
    batch_status: str
    batch_paused: bool
    enabled: bool | None
    max_attempts: int | None
    max_in_flight: int | None
    held_until: datetime | None
    allowance: int | None
    held_because: str | None
    in_flight: int
    working_batch: str | None
    polling_paused: bool
    ticked_at: datetime | None
    idle_s: float
    now: datetime

    def evidence(self) -> dict[str, object]:
        """What is known, by name; nothing where there is nothing."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in named if value is not None}


@dataclass(frozen=True)
class Reason:
    """One sentence, and the command that would move the row where one would."""

    says: str
    mend: str | None = None


def explain(facts: Facts) -> Reason:
    """The one reason that holds the row: the first that applies."""
    return next(_reasons(facts))


def _reasons(facts: Facts) -> Iterator[Reason]:
    step, why = facts.step, f": {facts.error}" if facts.error else ""
    match facts.status:
        case Status.FAILED:
            yield Reason(
                f"{step} FAILED at attempt {facts.attempt}{why}",
                f"tracer retry {quote(facts.batch)}",
            )
        case Status.CANCELLED:
            yield Reason(f"{step} was cancelled by an operator")
        case Status.COMPLETED if facts.last:
            yield Reason(f"All steps are done: {step}, the last one, is COMPLETED")
        case Status.COMPLETED if facts.batch_status == BatchStatus.CANCELLED:
            yield Reason(f"{step} is COMPLETED, and the batch was cancelled before the next step")
        case Status.COMPLETED:
            yield from _unticked(facts)
            yield Reason(f"{step} is COMPLETED; the next tick takes it to the step after")
        case Status.PENDING:
            yield from _pending(facts)
        case Status.QUEUED:
            yield from _late(facts)
            if facts.enabled is None:
                yield Reason(f"The step {step} is no longer registered", "tracer steps sync")
            yield Reason(
                f"Claimed, and not begun: {_call(facts)} has until {moment(facts.lease_expires_at)}"
                f" to begin {step}{why}"
            )
        case Status.IN_PROGRESS:
            yield from _late(facts)
            yield Reason(
                f"Attempt {facts.attempt} of {step} is running since {moment(facts.started_at)} on "
                f"{_call(facts)}; its lease is good until {moment(facts.lease_expires_at)}"
            )


def _pending(facts: Facts) -> Iterator[Reason]:
    step = facts.step
    if facts.batch_paused:
        yield Reason("The batch is paused", f"tracer resume {quote(facts.batch)}")
    if facts.enabled is None:
        yield Reason(f"The step {step} is not registered", "tracer steps sync")
    if not facts.enabled:
        yield Reason(f"The step {step} is disabled", f"tracer steps set {step} enabled=true")
    if facts.available_at > facts.now:
        why = facts.error or "an attempt failed"
        mend = "tracer doctor" if why.startswith("spawn") else None
        yield Reason(f"{step} waits until {moment(facts.available_at)}, since {why}", mend)
    if facts.held_until and facts.held_until > facts.now:
        yield Reason(
            f"No {step} is spawned until {moment(facts.held_until)}, since the last spawns were "
            f"not all taken: {facts.held_because}",
            "tracer doctor",
        )
    if facts.working_batch:
        yield Reason(f"The batch {facts.working_batch!r} has {step} of this company in flight")
    if facts.max_in_flight is not None and facts.in_flight >= facts.max_in_flight:
        yield Reason(
            f"The budget of {step} is used up: {facts.in_flight} in flight, of "
            f"{facts.max_in_flight}",
            f"tracer steps set {step} max_in_flight={2 * facts.max_in_flight or 1}",
        )
    yield from _unticked(facts)
    slowed = f", {facts.allowance} rows at most while it is slowed" if facts.allowance else ""
    yield Reason(f"{step} waits for its share of the next tick's claim{slowed}")


def _late(facts: Facts) -> Iterator[Reason]:
    """A lease that has ended is the next tick's to judge."""
    if facts.lease_expires_at and facts.lease_expires_at <= facts.now:
        yield from _unticked(facts)
        why = facts.error or "no worker has renewed its lease"
        yield Reason(
            f"Attempt {facts.attempt} of {facts.step} is over, since {why}; the next tick "
            "gives it another one, or none"
        )


def _unticked(facts: Facts) -> Iterator[Reason]:
    """Why no tick comes."""
    if facts.polling_paused:
        yield Reason("Polling is paused", "tracer interval resume")
    if facts.ticked_at is None:
        yield Reason("No reconciler has ever ticked", "tracer doctor")
    elif is_silent(facts.now, facts.ticked_at, facts.idle_s):
        yield Reason(f"No reconciler has ticked since {moment(facts.ticked_at)}", "tracer doctor")


def is_silent(now: datetime, ticked_at: datetime, idle_s: float) -> bool:
    """Whether no loop is left that ticks, by the last sign of life."""
    return now - ticked_at > max(SILENCE, timedelta(seconds=2 * idle_s))


def _call(facts: Facts) -> str:
    return f"call {facts.call_id}" if facts.call_id else "a worker"


def moment(value: datetime | None) -> str:
    """A moment for people, in local time: to the second, with its date and zone."""
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S %Z}" if value else "?"
