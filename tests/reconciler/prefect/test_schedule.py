"""The schedule on a real Prefect server, as the local stack starts and deploys it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from reconciler.contract.errors import BadInput, Unreachable, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.local.service import Service, environment
from reconciler.local.stack import Stack
from reconciler.local.stack_file import load_stack
from reconciler.operator import views
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.prefect.api import PrefectServer, local_server, open_api
from reconciler.prefect.runs import clear_dead, read_run, recent_runs
from reconciler.prefect.schedule import (
    pause,
    read_schedule,
    require_deployment,
    resume,
    run_now,
    set_every,
)
from tests.databases import Databases
from tests.prefect_database import give
from tests.scratch import make_scratch
from tests.standins.controlplane.terminal import ROOT

pytestmark = pytest.mark.timeout(240)  # the whole stack has to start: 20 s of CPU

SLOW = timedelta(seconds=30)  # for a call of the API, on a machine with much to do
RUN_S = 90
COMPANIES = 1500


@dataclass(frozen=True)
class Live:
    """A stack that runs, and its first run."""

    stack: Stack
    settings: Settings
    home: Path
    url: str
    run_id: str

    def slots(self) -> int:
        with open_api(local_server(self.stack.api_url)) as api:
            taken: int = require_deployment(api)["global_concurrency_limit"]["active_slots"]
        return taken

    def wait_state(self, run_id: str, *states: str) -> str:
        deadline = time.monotonic() + RUN_S
        while (state := read_run(self.settings, run_id).state) not in states:
            assert time.monotonic() < deadline, f"still {state}"
            time.sleep(0.1)
        return state

    def ticked(self) -> bool:
        with OperatorStore.connect(self.url) as store:
            return store.polling()["ticked_at"] is not None

    def cancel(self, run_id: str) -> None:
        with open_api(local_server(self.stack.api_url)) as api:
            wanted = {"state": {"type": "CANCELLING"}}
            api.call("POST", f"flow_runs/{run_id}/set_state", wanted)

    def end_runs(self) -> None:
        """Cancel every run that is alive, and wait until none holds a slot."""
        for run in recent_runs(self.settings):
            if not run.ended_at:
                self.cancel(run.id)
        assert eventually(lambda: self.slots() == 0, within_s=RUN_S)


@pytest.fixture(scope="module")
def live(databases: Databases, prefect_database: Path) -> Iterator[Live]:
    home = make_scratch("tracer-stack-")
    give(prefect_database, home)
    with databases.one() as url, Stack() as stack:
        settings = Settings.model_validate({"TRACER_HOME": home, "DATABASE_URL": url})
        run_id = stack.start(settings, url, print)
        yield Live(stack, settings, home, url, run_id)
    shutil.rmtree(home)


def eventually(true: Callable[[], bool], within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_the_first_run_is_running_soon_after_the_start(live: Live) -> None:
    assert live.wait_state(live.run_id, "Running", "Completed") == "Running"
    assert live.run_id in [run.id for run in recent_runs(live.settings)]
    assert live.stack.ended_services() == []


def test_a_deploy_lays_the_schedule_down(live: Live) -> None:
    schedule = read_schedule(live.settings)
    assert (schedule.every_s, schedule.paused) == (120, False)
    assert schedule.deployed
    assert schedule.pool_online
    assert schedule.api_url == live.stack.api_url


def test_nothing_of_this_machine_is_stored_with_the_deployment(live: Live) -> None:
    with open_api(local_server(live.stack.api_url)) as api:
        assert str(ROOT) not in str(require_deployment(api))


def test_a_new_interval_moves_the_next_run_at_once(live: Live) -> None:
    changed_at = datetime.now(UTC)
    assert set_every(live.settings, 600).every_s == 600

    def moved() -> bool:  # a run that was due just then is started first, where this is slow
        next_run_at = read_schedule(live.settings).next_run_at
        assert next_run_at is not None
        return timedelta(0) <= next_run_at - changed_at - timedelta(seconds=600) < SLOW

    assert eventually(moved)


def test_an_interval_that_only_starts_runs_is_refused(live: Live) -> None:
    for seconds in (0, -1, 9.9, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="take 10 s or more"):
            set_every(live.settings, seconds)


def test_a_pause_drops_the_runs_to_come_and_resume_plans_them(live: Live) -> None:
    assert pause(live.settings).paused
    assert read_schedule(live.settings).next_run_at is None
    resumed = resume(live.settings)
    assert not resumed.paused
    assert resumed.next_run_at is not None


@pytest.mark.proof
def test_a_tuned_and_paused_schedule_survives_a_second_deploy(live: Live) -> None:
    set_every(live.settings, 900)
    before = pause(live.settings)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    seen = environment(live.settings, live.url) | {"PREFECT_API_URL": live.stack.api_url}
    subprocess.run(command, cwd=ROOT, env=seen, check=True, capture_output=True, timeout=60)
    # A run that was due just then may be started meanwhile; the schedule itself plans none.
    assert replace(read_schedule(live.settings), next_run_at=before.next_run_at) == before
    assert (before.every_s, before.paused) == (900, True)


def test_a_cancelled_run_leaves_between_ticks_and_gives_its_slot_back(live: Live) -> None:
    live.wait_state(live.run_id, "Running")
    assert eventually(live.ticked, within_s=RUN_S)  # before, SIGTERM ends it at once
    live.cancel(live.run_id)
    assert live.wait_state(live.run_id, "Cancelled", "Completed", "Crashed") != "Crashed"
    assert eventually(lambda: live.slots() == 0)
    assert "it was stopped" in (live.home / "logs" / "prefect-worker.log").read_text()


def argued(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def kill_one(service: Service, argument: str) -> bool:
    """SIGKILL a process under `service` that has `argument` in its command line."""
    for program in service.programs():
        if argument in argued(program.pid):
            os.kill(program.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.proof
@pytest.mark.timeout(420)  # a run that is killed on a busy machine is followed late
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_killing_the_flow_and_a_worker_changes_nothing_but_the_time(live: Live) -> None:
    """The schedule alone takes the batch through, and replaces the loop that was killed."""
    with OperatorStore.connect(live.url) as operator:
        for step in ("normalize", "step_a", "step_b"):
            operator.set_step(step, {"lease_s": 2, "backoff_s": 0.1})
        operator.set_polling(poll_s=0.2)
        rows = [(line, str(line), f"Company {line}", None, {}) for line in range(COMPANIES)]
        blueprint = ["normalize", "step_a", "step_b"]
        seed_batch(operator, rows, name="unattended", blueprint=blueprint, columns=[])
        resume(live.settings)
        set_every(live.settings, 10)

        def done() -> list[int]:
            progress = views.progress(operator, operator.batch("unattended"))
            return [step["COMPLETED"] for step in progress["steps"]]

        assert eventually(lambda: done()[1] > 50, within_s=60)
        assert kill_one(live.stack._services["prefect-worker"], "prefect.engine")
        assert kill_one(live.stack._services["worker-host"], "--multiprocessing-fork")
        assert eventually(lambda: operator.batch("unattended").status == "FINISHED", within_s=300)
        assert done() == [COMPANIES] * 3
        for table in ("normalized", "step_a", "step_b"):
            assert len(operator.rows(f"SELECT company_id FROM results.{table}")) == COMPANIES
        twice = operator.rows("SELECT company_id FROM workflow_states WHERE attempt > 1")
        # What the killed worker held of each step, `concurrency` and a chunk, and nothing else.
        assert len(twice) <= 100 + 200 + 2 * (100 + 5)
        pause(live.settings)
        operator.set_polling(paused=True)
        assert eventually(lambda: live.slots() == 0, within_s=30)
        operator.set_polling(paused=False)


@pytest.mark.proof
def test_runs_that_died_with_their_worker_give_their_slots_back(live: Live) -> None:
    live.wait_state(live.run_id, "Running", "Completed", "Cancelled", "Crashed")
    live.end_runs()
    run_id = run_now(live.settings)
    live.wait_state(run_id, "Running")
    worker = live.stack._services["prefect-worker"]
    worker.kill()
    assert live.stack.ended_services() == ["prefect-worker"]
    assert live.slots() == 1
    with open_api(local_server(live.stack.api_url)) as api:
        clear_dead(api)
    assert read_run(live.settings, run_id).state == "Crashed"
    assert live.slots() == 0


@pytest.mark.proof
def test_the_server_of_another_stack_is_not_taken_for_ours(live: Live, tmp_path: Path) -> None:
    """Both chose the same port while neither listened yet."""
    port, ended = httpx.URL(live.stack.ui_url).port, live.stack.ended_services()
    assert port
    with Stack() as other:
        other._prepare(live.settings.model_copy(update={"home": tmp_path}), live.url)
        assert not other._start_server(port)
        assert other.ended_services() == []
    assert live.stack.ended_services() == ended


def test_a_stopped_stack_leaves_nothing_behind(live: Live) -> None:
    written = load_stack(live.home)
    assert written is not None
    live.stack.stop()
    assert not [program for program in written.services if program.alive]
    assert load_stack(live.home) is None
    with pytest.raises(Unreachable, match="tracer up"):
        read_schedule(live.settings)


def test_a_server_that_is_away_is_said_quickly_and_without_the_password() -> None:
    started = time.monotonic()
    server = PrefectServer("http://me:secret@127.0.0.1:1/api", None)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/api") as raised, open_api(server) as api:
        api.call("GET", "health")
    assert "secret" not in str(raised.value)
    assert time.monotonic() - started < 3


def test_the_environment_names_the_server_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/elsewhere/api")
    settings = Settings.model_validate({"TRACER_HOME": tmp_path})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/elsewhere/api"):
        read_schedule(settings)


def test_without_any_server_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings.model_validate({"TRACER_HOME": tmp_path})
    with pytest.raises((Unreachable, WorkFailed), match="tracer up"):
        read_schedule(settings)
