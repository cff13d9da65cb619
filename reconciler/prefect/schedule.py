"""Prefect's schedule of the reconcile loop: read it, tune it, pause it, ask for a run at once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.prefect.api import Api, configured_place, find_place, moment, speak
from reconciler.prefect.work_pool import read_pool

FLOW, DEPLOYMENT, POOL, SLUG = "reconcile", "tracer", "tracer", "reconcile"
PREFECT_FILE = Path(__file__).parent / "prefect.yaml"
SHORTEST_S = 10.0  # a run needs about 6 s to start: at less, runs only take over from each other
DEPLOY = "tracer prefect deploy"
SCHEDULE = "tracer interval set --every 2m"


class NotDeployed(WorkFailed):
    """Prefect has no deployment of the loop."""

    def __init__(self) -> None:
        super().__init__("Prefect has no deployment `reconcile/tracer`.", DEPLOY)


@dataclass(frozen=True)
class Schedule:
    """The schedule as Prefect has it now.

    `every_s` and `next_run_at` are None where there is no interval or no run to come; what begins
    with `pool` or `queue` is of the place where the deployment's runs wait: see `read_pool`.
    """

    api_url: str
    every_s: float | None
    paused: bool
    next_run_at: datetime | None
    deployed: bool
    pool_online: bool | None
    pool: str | None = POOL
    pool_paused: bool = False
    pool_limit: int | None = None
    queue: str | None = None
    queue_paused: bool = False
    queue_limit: int | None = None


def read_schedule(settings: Settings) -> Schedule:
    """The schedule, whether its deployment exists, and whether a worker is there to run it.

    Raises:
        Unreachable: no Prefect server is known, or it does not answer. So do all others here.
    """
    with speak(find_place(settings)) as api:
        return read(api)


def set_every(settings: Settings, seconds: float) -> Schedule:
    """Start a run every `seconds` from now on: the next one comes that long after this call.

    Raises:
        BadInput: `seconds` is less than `SHORTEST_S`.
        WorkFailed: there is no deployment.
    """
    if not (math.isfinite(seconds) and seconds >= SHORTEST_S):
        raise BadInput(f"A run every {seconds:g} s: take {SHORTEST_S:g} s or more.")
    with on_deployment(settings) as (api, deployment):
        _write_slot(api, deployment, {"schedule": {"interval": seconds}})
        return read(api)


def keep_every(settings: Settings, seconds: float) -> None:
    """`set_every`, unless it is so: a Prefect whose database is new has lost what was set."""
    if read_schedule(settings).every_s != seconds:
        set_every(settings, seconds)


def pause(settings: Settings) -> Schedule:
    """Start no more runs; one that is running goes on to the end of its window.

    Raises:
        WorkFailed: there is no deployment.
    """
    with on_deployment(settings) as (api, deployment):
        _write_slot(api, deployment, {"active": False})
        return read(api)


def resume(settings: Settings) -> Schedule:
    """Start runs again, be it the schedule or the whole deployment that was paused.

    Raises:
        WorkFailed: there is no deployment.
    """
    with on_deployment(settings) as (api, deployment):
        if deployment["paused"]:
            api.call("POST", f"deployments/{deployment['id']}/resume_deployment")
        _write_slot(api, deployment, {"active": True})
        return read(api)


def run_now(settings: Settings) -> str:
    """Ask for one run at once, whatever the schedule says; returns the flow run's id.

    Raises:
        WorkFailed: there is no deployment.
    """
    with speak(find_place(settings)) as api:
        return ask_for_run(api)


def ask_for_run(api: Api) -> str:
    """`run_now` over an open connection."""
    deployment = deployed(api)
    run = api.call("POST", f"deployments/{deployment['id']}/create_flow_run", {})
    return str(run["id"])


def lay_down(flow_name: str, deployment_name: str, slug: str, every_s: float) -> dict[str, float]:
    """A build step of prefect.yaml: see that the deployment has its schedule.

    One that is there is left as it is, tuned and paused as it may be; returns its interval as
    `every_s`, in seconds. The deployment itself is completed by the deploy that runs this step.
    """
    with speak(configured_place()) as api:
        deployment = find_deployment(api, flow_name, deployment_name)
        slot = _slot(deployment, slug) if deployment else None
        if slot:
            return {"every_s": float(slot["schedule"].get("interval", 0))}
        fresh = {"slug": slug, "active": True, "schedule": {"interval": every_s}}
        if deployment:
            api.call("POST", f"deployments/{deployment['id']}/schedules", [fresh])
        else:
            flow = api.call("POST", "flows/", {"name": flow_name})
            body = {"name": deployment_name, "flow_id": flow["id"], "schedules": [fresh]}
            api.call("POST", "deployments/", body)
    return {"every_s": every_s}


@contextmanager
def on_deployment(settings: Settings) -> Iterator[tuple[Api, dict[str, Any]]]:
    """A connection, and the deployment as Prefect has it; WorkFailed where there is none."""
    with speak(find_place(settings)) as api:
        yield api, deployed(api)


def deployed(api: Api) -> dict[str, Any]:
    """The deployment as Prefect has it; WorkFailed where there is none."""
    deployment = find_deployment(api)
    if deployment is None:
        raise NotDeployed
    return deployment


def find_deployment(api: Api, flow: str = FLOW, name: str = DEPLOYMENT) -> dict[str, Any] | None:
    """The deployment as Prefect has it; None where there is none."""
    try:
        found: dict[str, Any] = api.call("GET", f"deployments/name/{flow}/{name}")
    except LookupError:
        return None
    return found


def _slot(deployment: dict[str, Any], slug: str = SLUG) -> dict[str, Any] | None:
    return next((s for s in deployment["schedules"] if s["slug"] == slug), None)


def _write_slot(api: Api, deployment: dict[str, Any], change: dict[str, Any]) -> None:
    """Change our schedule, or make it, and let the runs to come follow at once.

    Prefect drops the runs to come at a change; its scheduler looks for new ones once in a minute,
    and the last call here does so in 0.1 s.
    """
    place, slot = f"deployments/{deployment['id']}", _slot(deployment)
    if slot:
        api.call("PATCH", f"{place}/schedules/{slot['id']}", change)
    elif "schedule" in change:
        api.call("POST", f"{place}/schedules", [{"slug": SLUG, "active": True, **change}])
    else:
        raise WorkFailed("The deployment has no schedule.", SCHEDULE)
    api.call("POST", f"{place}/schedule", {})


def read(api: Api) -> Schedule:
    """`read_schedule` over an open connection."""
    deployment = find_deployment(api)
    slot = _slot(deployment) if deployment else None
    paused = bool(deployment and deployment["paused"]) or bool(slot and not slot["active"])
    return Schedule(
        api_url=api.place.shown,
        every_s=slot["schedule"].get("interval") if slot else None,
        paused=paused,
        next_run_at=_next_run(api, deployment) if deployment else None,
        deployed=bool(deployment and deployment["entrypoint"]),
        **read_pool(api, deployment, POOL),
    )


def _next_run(api: Api, deployment: dict[str, Any]) -> datetime | None:
    wanted = {
        **of_deployment(deployment),
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    found = api.call("POST", "flow_runs/filter", wanted)
    return moment(found[0]["expected_start_time"]) if found else None


def of_deployment(deployment: dict[str, Any]) -> dict[str, Any]:
    """A filter for what belongs to `deployment`."""
    return {"deployments": {"id": {"any_": [deployment["id"]]}}}
