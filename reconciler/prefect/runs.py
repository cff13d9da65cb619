"""Prefect's runs of the poll loop."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.contract.errors import BadInput
from reconciler.contract.settings import Settings
from reconciler.prefect.api import Api, find_server, open_api, parse_moment
from reconciler.prefect.schedule import deployment_filter, find_deployment, open_deployment

ALIVE = ["RUNNING", "PENDING", "CANCELLING"]


@dataclass(frozen=True)
class Run:
    """One run of the loop; `state` is Prefect's name of its state, such as Running or Completed."""

    id: str
    name: str
    state: str
    expected_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    ui_url: str | None


def recent_runs(settings: Settings, limit: int = 5) -> list[Run]:
    """The last runs that have started, the newest first, at most `limit`."""
    with open_deployment(settings) as (api, deployment):
        wanted = {
            **deployment_filter(deployment),
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
    with open_api(find_server(settings)) as api:
        try:
            return _run(api, api.call("GET", f"flow_runs/{run_id}"))
        except LookupError as error:
            raise BadInput(f"Prefect has no flow run {run_id}.", "tracer interval") from error


def clear_dead(api: Api) -> None:
    """Mark runs as crashed that were killed with an earlier server; delete runs that are overdue.

    Call it while no Prefect worker runs. A run that was killed with its server holds a slot of the
    concurrency limit: with two of them, Prefect would cancel every later run. Overdue runs would
    take the free slots next.
    """
    deployment = find_deployment(api)
    if deployment is None:
        return
    dead = {**deployment_filter(deployment), "flow_runs": {"state": {"type": {"any_": ALIVE}}}}
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
    ui_url = api.server.ui_url
    return Run(
        id=found["id"],
        name=found["name"],
        state=found["state_name"] or "Pending",
        expected_at=parse_moment(found["expected_start_time"]),
        started_at=parse_moment(found["start_time"]),
        ended_at=parse_moment(found["end_time"]),
        ui_url=f"{ui_url}/runs/flow-run/{found['id']}" if ui_url else None,
    )
