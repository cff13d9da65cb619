"""The reasons that no tick comes, and the command that starts ticks again."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from reconciler.contract.errors import NoPolling, TracerError, WrongSchema
from reconciler.local.worker_host import RESTART
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import LoopFacts, Observed
from reconciler.operator.wording import operand, since, span, when
from reconciler.prefect.schedule import DEPLOY, SCHEDULE, Schedule
from reconciler.prefect.work_pool import POOL

RESUME_POLLING = "tracer interval resume"
RECONCILE = "tracer reconcile --until-done"
DOCTOR = "tracer doctor"
HERE = ("127.0.0.1", "localhost", "::1")
POLLING_PAUSED = Reason(Code.POLLING_PAUSED, "Polling is paused", RESUME_POLLING)
STACK_STARTING = Reason(Code.STACK_STARTING, "`tracer up` is starting: the loop ticks soon")
LATE = timedelta(seconds=30)  # Prefect's worker starts a run 2 to 17 s after it is due
CRON = timedelta(seconds=65)  # cron starts a run every minute


def halted(loop: LoopFacts) -> Iterator[Reason]:
    """Polling is switched off, or no loop runs."""
    yield from switched_off(loop)
    yield from no_tick(loop)


def switched_off(loop: LoopFacts) -> Iterator[Reason]:
    """Polling is paused or has no row: every loop ends before its next tick."""
    if loop.polling_paused is None:
        yield polling_row_missing()
    if loop.polling_paused:
        yield POLLING_PAUSED


def schema_damaged(says: str, fix: str | None = None) -> Reason:
    """Something of the schema is gone."""
    return Reason(Code.SCHEMA_DAMAGED, says, fix)


def wrong_schema(error: WrongSchema) -> Reason:
    """The schema is missing or has another revision: ticks and workers refuse it."""
    behind = Code.SCHEMA_BEHIND if (error.found or "") <= error.needed else Code.TRACER_BEHIND
    code = behind if error.found else Code.SCHEMA_MISSING
    return Reason(code, error.says.rstrip("."), error.fix)


def polling_row_missing() -> Reason:
    """The table `polling` has no row, and every tick reads it."""
    error = NoPolling()
    return Reason(Code.POLLING_ROW_MISSING, error.says, error.fix)


def no_tick(loop: LoopFacts) -> Iterator[Reason]:
    """No loop runs; the reason's code is that of the cause, if the cause is known."""
    if loop.silent:
        seen = loop.observed
        code = seen.prefect.code if seen.prefect else Code.NO_TICK
        yield Reason(code, ". ".join([_unticked(loop), *_causes(seen, loop.now)]), tick_fix(seen))


def no_next_tick(loop: LoopFacts) -> Reason:
    """Nothing is known that would start the next tick, even if the last one was recent."""
    if loop.ticked_at is None or loop.now - loop.ticked_at >= CRON:
        return Reason(Code.NO_TICK, _unticked(loop), tick_fix(loop.observed))
    heard = since(loop.ticked_at, loop.now)
    says = f"The last tick was at {heard}, and nothing is set up to start the next one"
    return Reason(Code.NO_NEXT_TICK, says, tick_fix(loop.observed))


def _unticked(loop: LoopFacts) -> str:
    if loop.ticked_at is None:
        return "No loop has ever ticked"
    return f"No loop has ticked since {since(loop.ticked_at, loop.now)}"


def tick_fix(seen: Observed) -> str | None:
    """The command that starts ticks again."""
    if seen.prefect is None:
        return RESUME_POLLING if seen.schedule else DOCTOR  # a resume starts a run at once
    return RECONCILE if seen.prefect.code == Code.PREFECT_UNREACHABLE else seen.prefect.fix


def _causes(seen: Observed, now: datetime) -> list[str]:
    if seen.prefect:
        also = [seen.workers_fault.says] if seen.workers_fault and seen.deserted else []
        return [seen.prefect.says, *also]
    if seen.schedule:
        run = seen.schedule.next_run_at
        due = f"its next run is due at {when(run, now)}" if run else "it has planned no run"
        return [f"Prefect's schedule is active, and {due}"]
    return []


def prefect_unknown(error: TracerError) -> Reason:
    """No Prefect server is configured."""
    return Reason(Code.PREFECT_UNKNOWN, "No Prefect server is known", error.fix)


def prefect_unreachable(error: TracerError, api_url: str) -> Reason:
    """Prefect does not answer at `api_url`, or refuses the login."""
    here = urlsplit(api_url).hostname in HERE
    fix = "prefect server start" if here else "prefect config view"
    return Reason(Code.PREFECT_UNREACHABLE, error.says.rstrip("."), fix)


def schedule_faults(
    found: Schedule, now: datetime, stack_url: str | None = None
) -> Iterator[Reason]:
    """Why Prefect starts no run, the cause first.

    `stack_url` is the API of a local stack's own server, else None. Prefect's commands then need
    PREFECT_API_URL, and a restart of the stack is what starts the worker.
    """
    server = f"PREFECT_API_URL={stack_url} " if stack_url else ""
    pool, queue = operand(found.pool or POOL), operand(found.queue or "default")
    more = RESTART if stack_url else f"prefect worker start --pool {pool} --type process"
    if not found.deployed:
        says = "Prefect has no deployment of the loop"
        yield Reason(Code.PREFECT_NOT_DEPLOYED, says, DEPLOY)
    if found.every_s is None:
        says = "Prefect's deployment has no interval schedule"
        yield Reason(Code.PREFECT_NO_INTERVAL, says, SCHEDULE)
    if found.paused:
        yield Reason(Code.PREFECT_PAUSED, "Prefect's schedule is paused", RESUME_POLLING)
    if not found.pool_online and found.pool in (None, POOL):
        yield Reason(Code.PREFECT_NO_WORKER, "No Prefect worker polls the pool", more)
    if not found.pool_online or found.pool is None:
        says = "No worker polls the work pool of Prefect's deployment"
        yield Reason(Code.PREFECT_OTHER_POOL, says, DEPLOY)
    late = now - found.next_run_at if found.next_run_at else timedelta()
    is_late, where = late > LATE, f"{queue} --pool {pool}"
    yield from _pool_faults(found, is_late, f"{server}prefect work-pool", pool)
    yield from _queue_faults(found, is_late, f"{server}prefect work-queue", where)
    if is_late:
        yield Reason(Code.PREFECT_LATE, f"Prefect's next run is late, by {span(late)}", more)


def _pool_faults(found: Schedule, late: bool, command: str, pool: str) -> Iterator[Reason]:
    if found.pool_paused:
        fix = f"{command} resume {pool}"
        yield Reason(Code.PREFECT_POOL_PAUSED, "Prefect's work pool is paused", fix)
    if _full(found.pool_limit, late):
        says = "Prefect's work pool has reached its concurrency limit"
        yield Reason(Code.PREFECT_POOL_FULL, says, f"{command} clear-concurrency-limit {pool}")


def _queue_faults(found: Schedule, late: bool, command: str, queue: str) -> Iterator[Reason]:
    if found.queue_paused:
        fix = f"{command} resume {queue}"
        yield Reason(Code.PREFECT_QUEUE_PAUSED, "Prefect's work queue is paused", fix)
    if _full(found.queue_limit, late):
        says = "Prefect's work queue has reached its concurrency limit"
        yield Reason(Code.PREFECT_QUEUE_FULL, says, f"{command} clear-concurrency-limit {queue}")


def _full(limit: int | None, late: bool) -> bool:
    """Whether the concurrency limit holds the next run back: it is 0, or runs are late."""
    return limit == 0 or (late and limit is not None)
