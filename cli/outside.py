"""What is seen outside of the database, and quickly: does a tick come, is a worker there."""

from dataclasses import replace

import httpx

from cli.prefect_api import find_place, speak
from cli.schedule import Schedule, read
from cli.stack import accepts
from reconciler.contract.errors import TracerError
from reconciler.contract.explain import waits_for_a_tick, waits_for_a_worker
from reconciler.contract.facts import Conductor, Facts, Outside
from reconciler.contract.settings import Settings, workers_socket

LOOK_S = 2.0  # who asks why a row waits should not wait for that too


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
    return state_of(found), found, ""


def state_of(found: Schedule) -> Conductor:
    """The first thing that keeps runs from coming, if something does."""
    if not found.deployed:
        return Conductor.NOT_DEPLOYED
    if found.paused:
        return Conductor.PAUSED
    return Conductor.WELL if found.pool_online else Conductor.NO_WORKER


def look_at_workers(settings: Settings, facts: Facts) -> bool | None:
    """Whether a call of the row's step would find its worker; None where that cannot be seen."""
    if settings.workers == "local":
        return accepts(workers_socket(settings.home))
    if facts.app is None or facts.function is None:
        return None
    from cli.doctor_modal import is_deployed  # Modal's client takes 0.7 s to import

    return is_deployed(facts.app, facts.function, LOOK_S)


def look(settings: Settings, facts: Facts) -> Outside:
    """What can be seen of whom the row waits for; a look that fails is none."""
    seen = Outside()
    if waits_for_a_tick(facts):
        state, found, _ = look_at_prefect(settings)
        seen = Outside(
            prefect=state,
            prefect_url=found.api_url if found else None,
            next_run_at=found.next_run_at if found else None,
        )
    if waits_for_a_worker(facts):
        ready = look_at_workers(settings, facts)
        seen = replace(seen, workers=settings.workers, workers_ready=ready)
    return seen
