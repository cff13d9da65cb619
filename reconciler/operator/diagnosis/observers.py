"""Asks Prefect and the workers, briefly: will a tick come, and is a worker ready."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import Settings
from reconciler.contract.states import BatchStatus, Status
from reconciler.local.stack_file import load_stack
from reconciler.local.worker_host import ask_host, host_fix
from reconciler.operator.diagnosis.row_facts import Observed, RowFacts
from reconciler.operator.diagnosis.rules import loop, workers
from reconciler.prefect.api import find_server, open_api
from reconciler.prefect.schedule import read

ANSWER_S = 2.0  # longest wait for an answer: `explain` must be quick


def observe(settings: Settings, row: RowFacts) -> Observed:
    """Ask only the services that the row waits for; None for each that gave no answer."""
    seen, ticks = Observed(), waits_for_a_tick(row)
    local = settings.workers == "local"
    if waits_for_a_worker(row) or (local and (ticks or row.next_claim)):
        seen = observe_workers(settings, row)
    if ticks and (row.silent or seen.host_gone):
        prefect = observe_prefect(settings)
        seen = replace(seen, prefect=prefect.prefect, schedule=prefect.schedule)
    return seen


def waits_for_a_tick(row: RowFacts) -> bool:
    """Whether the row needs a tick, and the last tick is too long ago for a loop with work."""
    moves = row.status == Status.PENDING or row.lease_over or row.goes_on
    return moves and row.quiet and row.batch_status == BatchStatus.RUNNING


def waits_for_a_worker(row: RowFacts) -> bool:
    """Whether the state of the workers matters: the row is with them, or its spawn failed."""
    refused = row.status == Status.PENDING and row.not_spawned
    begun_here = row.status == Status.IN_PROGRESS and not row.call_id
    return row.status == Status.QUEUED or begun_here or refused or row.throttled


def observe_prefect(settings: Settings) -> Observed:
    """Ask Prefect for the loop's schedule, and judge it."""
    stack = load_stack(settings.home)
    if stack and stack.starting and stack.owner.alive and not os.environ.get("PREFECT_API_URL"):
        return Observed(prefect=loop.STACK_STARTING)
    try:
        server = find_server(settings)
    except TracerError as error:
        return Observed(prefect=loop.prefect_unknown(error))
    try:
        with open_api(server, httpx.Timeout(ANSWER_S)) as api:
            found = read(api)
    except TracerError as error:
        return Observed(prefect=loop.prefect_unreachable(error, server.api_url))
    stack_url = server.api_url if server.of_stack else None
    return Observed(next(loop.schedule_faults(found, datetime.now(UTC), stack_url), None), found)


def observe_workers(settings: Settings, row: RowFacts) -> Observed:
    """Ask the workers whether they would take a call of the row's step."""
    return _local(settings, row) if settings.workers == "local" else _modal(settings, row)


def _local(settings: Settings, row: RowFacts) -> Observed:
    host = ask_host(settings)
    fault = next(workers.host_faults(host, [row.step], host_fix(settings, host)), None)
    since = None if host.up_s is None else row.now - timedelta(seconds=host.up_s)
    return Observed(
        workers="local",
        workers_ready=fault is None,
        workers_fault=fault,
        workers_full=host.room.get(row.step) == 0 or None,
        host_since=since,
    )


def _modal(settings: Settings, row: RowFacts) -> Observed:
    if row.app is None or row.function is None:
        return Observed(workers=settings.workers)
    # Modal's client takes 0.7 s to import.
    from reconciler.spawners.modal_account import is_deployed

    ready = is_deployed(row.app, row.function, ANSWER_S)
    fault = workers.function_missing(row.app, row.function) if ready is False else None
    return Observed(workers=settings.workers, workers_ready=ready, workers_fault=fault)
