"""What is seen outside of the database, and quickly: does a tick come, is a worker there."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import Settings, load_settings
from reconciler.local.stack_file import read_stack
from reconciler.local.worker_host import NO_HOST, RESTART, ask_host, host_fix
from reconciler.operator.diagnosis.explain import waits_for_a_tick, waits_for_a_worker
from reconciler.operator.diagnosis.row_facts import Conductor, Facts, Outside
from reconciler.prefect.api import find_place, speak
from reconciler.prefect.schedule import POOL, Schedule, read

LOOK_S = 2.0  # who asks why a row waits should not wait for that too
LATE = timedelta(seconds=30)  # Prefect's worker starts a run 2 to 17 s after it is due


def look_at_prefect(settings: Settings) -> tuple[Conductor, Schedule | None, str]:
    """How Prefect's schedule of the loop is, what was read of it, and what was wrong with that."""
    try:
        place = find_place(settings)
    except TracerError as error:
        return Conductor.UNKNOWN, None, str(error)
    try:
        with speak(place, httpx.Timeout(LOOK_S)) as api:
            found = read(api)
    except TracerError as error:
        return Conductor.UNREACHABLE, None, str(error)
    return state_of(found, datetime.now(UTC)), found, ""


def state_of(found: Schedule, now: datetime) -> Conductor:
    """The first thing that keeps runs from coming, if something does."""
    late = found.next_run_at is not None and now - found.next_run_at > LATE
    keeps = {
        Conductor.NOT_DEPLOYED: not found.deployed,
        Conductor.NO_INTERVAL: found.every_s is None,
        Conductor.PAUSED: found.paused,
        Conductor.NO_WORKER: not found.pool_online and found.pool in (None, POOL),
        Conductor.ELSEWHERE: not found.pool_online or found.pool is None,
        Conductor.POOL_PAUSED: found.pool_paused,
        Conductor.QUEUE_PAUSED: found.queue_paused,
        Conductor.POOL_FULL: full(found.pool_limit, late),
        Conductor.QUEUE_FULL: full(found.queue_limit, late),
        Conductor.LATE: late,
    }
    return next((state for state, is_so in keeps.items() if is_so), Conductor.WELL)


def full(limit: int | None, late: bool) -> bool:
    """Whether a limit of runs at once keeps the next one waiting."""
    return limit == 0 or (late and limit is not None)


def look_at_workers(settings: Settings, facts: Facts) -> Outside:
    """Whether a call of the row's step would find its worker, as far as that can be seen."""
    seen = Outside(workers=settings.workers)
    if settings.workers == "local":
        host = ask_host(settings)
        fault = host.lacks(facts.step)
        return replace(
            seen,
            workers_ready=fault is None,
            workers_fault=fault,
            workers_fix=host_fix(settings, host) if fault else None,
            host_since=None if host.up_s is None else facts.now - timedelta(seconds=host.up_s),
        )
    if facts.app is None or facts.function is None:
        return seen
    from reconciler.operator.diagnosis.modal_checks import (
        is_deployed,
    )  # Modal's client takes 0.7 s to import
    from reconciler.spawners.modal_account import DEPLOY

    ready = is_deployed(facts.app, facts.function, LOOK_S)
    if ready is not False:
        return replace(seen, workers_ready=ready)
    fault = f"the function {facts.function} of the app {facts.app} is not deployed on Modal"
    return replace(seen, workers_ready=False, workers_fault=fault, workers_fix=DEPLOY)


def look(settings: Settings, facts: Facts) -> Outside:
    """What can be seen of whom the row waits for; a look that fails is none."""
    seen, ticks = Outside(), waits_for_a_tick(facts)
    if waits_for_a_worker(facts) or (ticks and settings.workers == "local"):
        seen = look_at_workers(settings, facts)
    if ticks and (facts.silent or seen.workers_fault == NO_HOST):
        state, found, _ = look_at_prefect(settings)
        seen = replace(seen, prefect=state)
        if found:
            seen = replace(
                seen,
                prefect_url=found.api_url,
                prefect_pool=found.pool,
                prefect_queue=found.queue,
                next_run_at=found.next_run_at,
            )
    return seen


def at_server(fix: str | None) -> str | None:
    """`fix`, where it is one of Prefect's own commands, for the server of the local stack that
    runs: they know nothing of it, and its worker is started with all else."""
    settings = load_settings()
    stack = None if os.environ.get("PREFECT_API_URL") else read_stack(settings.home)
    if not (fix and stack and fix.startswith("prefect ")):
        return fix
    if fix.startswith("prefect worker"):
        return RESTART
    return f"PREFECT_API_URL={stack.api_url} {fix}"
