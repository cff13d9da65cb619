"""Why no tick comes, and what would bring one."""

from collections.abc import Iterator
from datetime import datetime

from reconciler.contract.errors import NoPolling
from reconciler.operator.diagnosis.row_facts import Conductor, Facts, Outside, Reason
from reconciler.operator.wording import operand, since, span, when

DEPLOY_FLOW = "prefect deploy --all --no-prompt"
RESUME_POLLING = "tracer interval resume"
DOCTOR = "tracer doctor"

# What brings a tick where Prefect's schedule is so.
FIXES = {
    Conductor.UNKNOWN: "tracer up",
    Conductor.UNREACHABLE: "tracer reconcile --until-done",
    Conductor.NOT_DEPLOYED: DEPLOY_FLOW,
    Conductor.NO_INTERVAL: "tracer interval set --every 2m",
    Conductor.PAUSED: RESUME_POLLING,
    Conductor.NO_WORKER: "prefect worker start --pool {pool} --type process",
    Conductor.ELSEWHERE: DEPLOY_FLOW,
    Conductor.POOL_PAUSED: "prefect work-pool resume {pool}",
    Conductor.POOL_FULL: "prefect work-pool clear-concurrency-limit {pool}",
    Conductor.QUEUE_PAUSED: "prefect work-queue resume {queue} --pool {pool}",
    Conductor.QUEUE_FULL: "prefect work-queue clear-concurrency-limit {queue} --pool {pool}",
    Conductor.LATE: "prefect worker start --pool {pool} --type process",  # one more
    Conductor.WELL: RESUME_POLLING,  # which starts a run
}


def conductor_fix(state: Conductor, pool: str | None, queue: str | None) -> str:
    """The command that brings a tick, given the names that Prefect has for where runs wait."""
    names = {"pool": operand(pool or "tracer"), "queue": operand(queue or "default")}
    return FIXES[state].format(**names)


def conductor_says(state: Conductor, next_run_at: datetime | None, now: datetime) -> str:
    """How Prefect's schedule is, for a sentence."""
    late = state is Conductor.LATE and next_run_at
    return f"{state}, by {span(now - late)}" if late else str(state)


def switched_off(facts: Facts) -> Iterator[Reason]:
    """Why every loop leaves before its next tick."""
    if facts.polling_paused is None:
        yield Reason(NoPolling().says, NoPolling().fix)
    if facts.polling_paused:
        yield Reason("Polling is paused", RESUME_POLLING)


def unticked(facts: Facts) -> Iterator[Reason]:
    """Why no tick comes."""
    yield from switched_off(facts)
    if facts.silent:
        heard = f"since {since(facts.ticked_at, facts.now)}" if facts.ticked_at else "so far"
        yield Reason(f"No reconciler has ticked {heard}{_cause(facts)}", _fix(facts.outside))


def _fix(outside: Outside) -> str:
    if outside.prefect is None:
        return DOCTOR
    return conductor_fix(outside.prefect, outside.prefect_pool, outside.prefect_queue)


def _cause(facts: Facts) -> str:
    """What is wrong with Prefect, as the end of a sentence."""
    outside = facts.outside
    if outside.prefect is None:
        return ""
    if outside.prefect is not Conductor.WELL:
        also = f", and {outside.workers_fault}" if outside.deserted else ""
        return f": {conductor_says(outside.prefect, outside.next_run_at, facts.now)}{also}"
    run = outside.next_run_at
    due = f"its next run is due at {when(run, facts.now)}" if run else "it has planned no run"
    return f"; {outside.prefect}, and {due}"
