"""Why a row that was claimed is where it is: its worker has not begun, works, or is gone."""

from collections.abc import Iterator

from reconciler.local.worker_host import NO_HOST
from reconciler.operator.diagnosis.row_facts import Facts, Reason
from reconciler.operator.diagnosis.rules.loop import unticked
from reconciler.operator.wording import since, until

SYNC = "tracer steps sync"


def queued(facts: Facts) -> Iterator[Reason]:
    """Why a QUEUED row has not begun."""
    yield from _late(facts)
    step, outside = facts.step, facts.outside
    if facts.enabled is None:
        yield Reason(f"The step {step} is no longer registered", SYNC)
    if gone := _gone(facts):
        yield Reason(
            f"Claimed, and not begun: its call was lost with the worker host ({gone}), and "
            f"{_judged(facts)}",
            outside.workers_fix,
        )
    if outside.workers_ready is False:
        yield Reason(
            f"Claimed, and not begun: {outside.workers_fault}. The lease of {attempt(facts)} "
            f"runs until {_lease(facts)}",
            outside.workers_fix,
        )
    why = f": {facts.error}" if facts.error else ""
    yield Reason(
        f"Claimed, and not begun: {_call(facts)} has until {_lease(facts)} to begin {step}{why}"
    )


def running(facts: Facts) -> Iterator[Reason]:
    """What an IN_PROGRESS row's worker does."""
    yield from _late(facts)
    began = f" {since(facts.started_at, facts.now)}" if facts.started_at else ""
    gone, mute = _gone(facts), facts.mute_since
    if mute:
        where = f" ({gone})" if gone else ""
        yield Reason(
            f"{facts.step} was begun at{began}, and its worker has been silent since "
            f"{since(mute, facts.now)}{where}: {_judged(facts)}",
            facts.outside.workers_fix if gone else None,
        )
    if gone:
        yield Reason(
            f"{facts.step} was begun at{began} by a worker host that is gone ({gone}): "
            f"{_judged(facts)}",
            facts.outside.workers_fix,
        )
    yield Reason(
        f"{facts.step} is running{began and f' since{began}'} on {_call(facts)}: "
        f"{attempt(facts)}, and its lease runs until {_lease(facts)}"
    )


def attempt(facts: Facts) -> str:
    """The number of the attempt, for a sentence."""
    return f"attempt {facts.tries} of {facts.max_attempts or '?'}"


def _late(facts: Facts) -> Iterator[Reason]:
    """A lease that has ended is the next tick's to judge."""
    if facts.lease_expires_at and facts.lease_expires_at <= facts.now:
        yield from unticked(facts)
        why = facts.error or "no worker has renewed its lease"
        yield Reason(
            f"{attempt(facts).capitalize()} of {facts.step} is over, since {why}; the next tick "
            "decides on another one"
        )


def _gone(facts: Facts) -> str | None:
    """How one sees that the local host is gone that took the row; calls of Modal have an id."""
    outside, taken = facts.outside, facts.started_at or facts.queued_at
    if outside.workers != "local" or facts.call_id:
        return None
    if outside.workers_fault == NO_HOST:
        return NO_HOST
    if outside.host_since and taken and outside.host_since > taken:
        return f"the one here was started at {since(outside.host_since, facts.now)}"
    return None


def _judged(facts: Facts) -> str:
    """What becomes of an attempt that nobody works."""
    left = facts.tries < (facts.max_attempts or 0)
    then = "takes it up again" if left else f"ends it as FAILED, after {attempt(facts)}"
    return f"the tick after {_lease(facts)} {then}"


def _call(facts: Facts) -> str:
    return f"call {facts.call_id}" if facts.call_id else "a worker"


def _lease(facts: Facts) -> str:
    return until(facts.lease_expires_at, facts.now) if facts.lease_expires_at else "?"
