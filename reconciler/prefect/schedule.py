"""Prefect's schedule of the poll loop: read it, change it, pause it, start a run at once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.prefect.api import Api, configured_server, find_server, open_api, parse_moment
from reconciler.prefect.work_pool import POOL, read_pool

FLOW, DEPLOYMENT, SLUG = "reconcile", "tracer", "reconcile"
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

    `every_s` (seconds) is None if it has no interval, `next_run_at` if no run is scheduled.
    `deployed`: the deployment is complete. `pool…` and `queue…`: see `read_pool`.
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
    """The schedule, whether its deployment exists, and whether a Prefect worker can run it.

    Raises:
        Unreachable: no Prefect server is known, or it does not answer. All functions of this module
            raise it.
    """
    with open_api(find_server(settings)) as api:
        return read(api)


def set_every(settings: Settings, seconds: float) -> Schedule:
    """Start a run every `seconds` from now on; the next one starts that long after this call.

    Raises:
        BadInput: `seconds` is less than `SHORTEST_S`.
        WorkFailed: there is no deployment.
    """
    if not (math.isfinite(seconds) and seconds >= SHORTEST_S):
        raise BadInput(f"A run every {seconds:g} s: take {SHORTEST_S:g} s or more.")
    with open_deployment(settings) as (api, deployment):
        _write_schedule(api, deployment, {"schedule": {"interval": seconds}})
        return read(api)


def ensure_every(settings: Settings, seconds: float) -> None:
    """`set_every`, if the schedule has another interval: a new Prefect database has lost it."""
    if read_schedule(settings).every_s != seconds:
        set_every(settings, seconds)


def pause(settings: Settings) -> Schedule:
    """Start no more runs; a run that has started goes on until its loop leaves.

    Raises:
        WorkFailed: there is no deployment.
    """
    with open_deployment(settings) as (api, deployment):
        _write_schedule(api, deployment, {"active": False})
        return read(api)


def resume(settings: Settings) -> Schedule:
    """Start runs again, whether the schedule or the whole deployment was paused.

    Raises:
        WorkFailed: there is no deployment.
    """
    with open_deployment(settings) as (api, deployment):
        if deployment["paused"]:
            api.call("POST", f"deployments/{deployment['id']}/resume_deployment")
        _write_schedule(api, deployment, {"active": True})
        return read(api)


def run_now(settings: Settings) -> str:
    """Start one run at once, even if the schedule is paused; returns the flow run's id.

    Raises:
        WorkFailed: there is no deployment.
    """
    with open_api(find_server(settings)) as api:
        return ask_for_run(api)


def ask_for_run(api: Api) -> str:
    """`run_now` over an open connection."""
    deployment = require_deployment(api)
    run = api.call("POST", f"deployments/{deployment['id']}/create_flow_run", {})
    return str(run["id"])


def lay_down(flow_name: str, deployment_name: str, slug: str, every_s: float) -> dict[str, float]:
    """A build step of prefect.yaml: create the deployment's schedule, if there is none.

    An existing schedule stays as it is, also if it was changed or paused. Returns its interval as
    `every_s`, in seconds. The deploy that runs this step completes the deployment itself.
    """
    with open_api(configured_server()) as api:
        deployment = find_deployment(api, flow_name, deployment_name)
        schedule = _find_schedule(deployment, slug) if deployment else None
        if schedule:
            return {"every_s": float(schedule["schedule"].get("interval", 0))}
        fresh = {"slug": slug, "active": True, "schedule": {"interval": every_s}}
        if deployment:
            api.call("POST", f"deployments/{deployment['id']}/schedules", [fresh])
        else:
            flow = api.call("POST", "flows/", {"name": flow_name})
            body = {"name": deployment_name, "flow_id": flow["id"], "schedules": [fresh]}
            api.call("POST", "deployments/", body)
    return {"every_s": every_s}


@contextmanager
def open_deployment(settings: Settings) -> Iterator[tuple[Api, dict[str, Any]]]:
    """Open a connection for the block; gives it and the deployment, as Prefect returns it.

    Raises:
        NotDeployed: there is no deployment.
    """
    with open_api(find_server(settings)) as api:
        yield api, require_deployment(api)


def require_deployment(api: Api) -> dict[str, Any]:
    """The deployment, as Prefect returns it.

    Raises:
        NotDeployed: there is no deployment.
    """
    deployment = find_deployment(api)
    if deployment is None:
        raise NotDeployed
    return deployment


def find_deployment(api: Api, flow: str = FLOW, name: str = DEPLOYMENT) -> dict[str, Any] | None:
    """The deployment, as Prefect returns it; None if there is none."""
    try:
        found: dict[str, Any] = api.call("GET", f"deployments/name/{flow}/{name}")
    except LookupError:
        return None
    return found


def _find_schedule(deployment: dict[str, Any], slug: str = SLUG) -> dict[str, Any] | None:
    return next((s for s in deployment["schedules"] if s["slug"] == slug), None)


def _write_schedule(api: Api, deployment: dict[str, Any], change: dict[str, Any]) -> None:
    """Change Tracer's schedule of the deployment, or create it, and schedule the next runs at once.

    Prefect deletes the scheduled runs at a change. Its scheduler creates new ones once a minute;
    the last call here creates them in 0.1 s.
    """
    path, schedule = f"deployments/{deployment['id']}", _find_schedule(deployment)
    if schedule:
        api.call("PATCH", f"{path}/schedules/{schedule['id']}", change)
    elif "schedule" in change:
        api.call("POST", f"{path}/schedules", [{"slug": SLUG, "active": True, **change}])
    else:
        raise WorkFailed("The deployment has no schedule.", SCHEDULE)
    api.call("POST", f"{path}/schedule", {})


def read(api: Api) -> Schedule:
    """`read_schedule` over an open connection."""
    deployment = find_deployment(api)
    schedule = _find_schedule(deployment) if deployment else None
    paused = bool(deployment and deployment["paused"]) or bool(schedule and not schedule["active"])
    return Schedule(
        api_url=api.server.printable_url,
        every_s=schedule["schedule"].get("interval") if schedule else None,
        paused=paused,
        next_run_at=_next_run(api, deployment) if deployment else None,
        deployed=bool(deployment and deployment["entrypoint"]),
        **read_pool(api, deployment, POOL),
    )


def _next_run(api: Api, deployment: dict[str, Any]) -> datetime | None:
    wanted = {
        **deployment_filter(deployment),
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    found = api.call("POST", "flow_runs/filter", wanted)
    return parse_moment(found[0]["expected_start_time"]) if found else None


def deployment_filter(deployment: dict[str, Any]) -> dict[str, Any]:
    """A filter of Prefect's API for the runs of `deployment`."""
    return {"deployments": {"id": {"any_": [deployment["id"]]}}}
