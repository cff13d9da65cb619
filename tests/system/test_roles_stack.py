"""The real thing under roles: Prefect runs the flow as conductor, worker processes are workers."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from reconciler.contract.grants import CONDUCTOR, OPERATOR, WORKER
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.service import Service, environment
from reconciler.local.stack import Stack
from reconciler.local.worker_host import accepts
from reconciler.operator import views
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.prefect.api import local_server, open_api
from tests.databases import Databases
from tests.prefect_database import give
from tests.roles import as_role, granted
from tests.scratch import make_scratch

pytestmark = pytest.mark.timeout(300)  # a Prefect server has to come up first, on whatever machine
BLUEPRINT = ["normalize", "step_a", "step_b"]
COMPANIES = 40
DONE_S = 90
SECRET = "hunter2secret"


@dataclass(frozen=True)
class Deployed:
    """A stack as it is deployed by hand: the loop and the workers each with a URL of their own."""

    stack: Stack
    home: Path
    url: str


def with_password(url: str, role: str) -> str:
    """One that nobody asks for here, but that must not be seen anywhere either."""
    return as_role(url, role).replace(f"{role}@", f"{role}:{SECRET}@")


def with_local_workers(settings: Settings, url: str) -> dict[str, str]:
    return environment(settings, url) | {"TRACER_WORKERS": "local"}


@pytest.fixture(scope="module")
def deployed(databases: Databases, prefect_database: Path) -> Iterator[Deployed]:
    home = make_scratch("tracer-roles-")
    give(prefect_database, home)
    with pytest.MonkeyPatch.context() as patch, databases.one() as made, Stack() as stack:
        url = granted(made)
        patch.setattr("reconciler.local.stack.environment", with_local_workers)
        # Modal's leaves the host to us; the flow's own environment says that workers are local.
        settings = Settings.model_validate({"TRACER_HOME": home, "TRACER_WORKERS": "modal"})
        stack.start(settings, with_password(url, CONDUCTOR), print)
        seen = environment(settings, with_password(url, WORKER))
        command = (sys.executable, "-m", "workers.host")
        host = Service("worker-host", command, seen, home / "logs")
        host.wait_ready(lambda: accepts(workers_socket(home)), 60)
        yield Deployed(stack, home, url)
        host.stop()
    shutil.rmtree(home)


@pytest.mark.proof
def test_the_flow_as_conductor_and_the_workers_as_worker_finish_a_batch(deployed: Deployed) -> None:
    with OperatorStore.connect(as_role(deployed.url, OPERATOR)) as operator:
        operator.set_polling(poll_s=0.1, idle_s=0.5)
        rows = [(line, str(line), f"Company {line}", None, {"a": "b"}) for line in range(COMPANIES)]
        seed_batch(operator, rows, name="roles", blueprint=BLUEPRINT, columns=["a"])
        deadline = time.monotonic() + DONE_S
        while operator.batch("roles").status != "FINISHED":
            assert time.monotonic() < deadline, log_of(deployed, "prefect-worker")
            time.sleep(0.2)
        steps = views.progress(operator, operator.batch("roles"))["steps"]
        assert [step["COMPLETED"] for step in steps] == [COMPANIES] * 3
    with psycopg.connect(deployed.url) as owner:
        seen = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
        users = {row[0] for row in owner.execute(seen)}
    assert users >= {CONDUCTOR, WORKER}
    assert "Traceback" not in log_of(deployed, "worker-host")


def log_of(deployed: Deployed, name: str) -> str:
    return (deployed.home / "logs" / f"{name}.log").read_text()


def holding_the_password(home: Path) -> list[Path]:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"prefect-worker.log", "worker-host.log"} <= {path.name for path in files}
    return [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.proof
def test_no_password_is_in_a_log_a_file_or_prefects_database(deployed: Deployed) -> None:
    """Prefect hands a run its environment in a file of its user's alone, for as long as it runs."""
    for path in holding_the_password(deployed.home):
        assert path.match("tmp/prefect-workspace-attempt-*/workspace.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with open_api(local_server(deployed.stack.api_url)) as api:
        for kind in ("flow_runs", "deployments", "work_pools", "logs"):
            assert SECRET not in str(api.call("POST", f"{kind}/filter", {}))
    deployed.stack.stop()
    assert holding_the_password(deployed.home) == []


def test_a_host_with_another_sides_url_says_so_and_leaves_the_rows(
    url: str, tmp_path: Path
) -> None:
    """Begin is denied: the calls are left to their leases, and the log has a sentence."""
    program = (
        "import os\n"
        "from pathlib import Path\n"
        "from workers.host.crew import Crew\n"
        "from workers.host.member import Child\n"
        "from workers.runtime.loading import load_steps\n"
        "child = lambda: Child(os.environ['DATABASE_URL'], Path('lock').resolve(), 'here.1')\n"
        "crew = Crew(load_steps(), 1, child, 1.0)\n"
        "crew.start()\n"
        "crew.give('normalize', [1])\n"
        "crew.wait_until_done()\n"
        "crew.close()\n"
    )
    path = tmp_path / "mistake.py"
    path.write_text(f"if __name__ == '__main__':\n    {program.replace(chr(10), chr(10) + '    ')}")
    seen = os.environ | {"DATABASE_URL": with_password(granted(url), OPERATOR), "PYTHONPATH": "."}
    said = subprocess.run(
        [sys.executable, str(path)],
        env=seen,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"The role {OPERATOR} may not do this; {WORKER} may (" in said.stderr
    assert "left to its lease" in said.stderr
    assert "Traceback" not in said.stderr
    assert SECRET not in said.stderr
