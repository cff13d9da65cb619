"""The runs of the reconcile loop, as Prefect has them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.contract.errors import BadInput
from reconciler.contract.settings import Settings
from reconciler.prefect.api import Api, find_place, moment, speak
from reconciler.prefect.schedule import find_deployment, of_deployment, on_deployment

ALIVE = ["RUNNING", "PENDING", "CANCELLING"]


@dataclass(frozen=True)
class Run:
    """One run of the loop; `state` is Prefect's name for it, such as Running or Completed."""

    id: str
    name: str
    state: str
    expected_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    ui_url: str | None


def recent_runs(settings: Settings, limit: int = 5) -> list[Run]:
    """The runs that have started, the newest first."""
    with on_deployment(settings) as (api, deployment):
        wanted = {
            **of_deployment(deployment),
            "flow_runs": {"start_time": {"is_null_": False}},
            "sort": "START_TIME_DESC",
            "limit": limit,
        }
        return [_run(api, found) for found in api.call("POST", "flow_runs/filter", wanted)]


def read_run(settings: Settings, run_id: str) -> Run:
    """One run by its id.

    Raises:
        BadInput: there is no such run.
    """
    with speak(find_place(settings)) as api:
        try:
            return _run(api, api.call("GET", f"flow_runs/{run_id}"))
        except LookupError as error:
            raise BadInput(f"Prefect has no flow run {run_id}.", "tracer interval") from error


def clear_dead(api: Api) -> None:
    """Close the runs that an earlier life of this server left behind; for when no worker is there.

    A run that was killed with its server holds a slot of the concurrency limit, and two of them
    would have every later run cancelled. Runs that came due meanwhile would take the slots next.
    """
    deployment = find_deployment(api)
    if deployment is None:
        return
    dead = {**of_deployment(deployment), "flow_runs": {"state": {"type": {"any_": ALIVE}}}}
    crashed = {"type": "CRASHED", "message": "Its server was stopped before it could report."}
    for run in api.call("POST", "flow_runs/filter", dead):
        body = {"state": crashed, "force": True}
        api.call("POST", f"flow_runs/{run['id']}/set_state", body)
    late = {
        "deployment_id": {"any_": [deployment["id"]]},
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
    }
    api.call("POST", "flow_runs/bulk_delete", {"flow_runs": late})


def _run(api: Api, found: dict[str, Any]) -> Run:
    ui_url = api.place.ui_url
    return Run(
        id=found["id"],
        name=found["name"],
        state=found["state_name"] or "Pending",
        expected_at=moment(found["expected_start_time"]),
        started_at=moment(found["start_time"]),
        ended_at=moment(found["end_time"]),
        ui_url=f"{ui_url}/runs/flow-run/{found['id']}" if ui_url else None,
    )
