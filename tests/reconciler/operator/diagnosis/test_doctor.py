"""`tracer doctor`: each part broken on purpose, one at a time; and 0 only where all is well."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

import reconciler.local.worker_host
from cli.main import run
from reconciler.contract.grants import CONDUCTOR, OPERATOR
from reconciler.operator.diagnosis import loop_checks, observers
from reconciler.operator.diagnosis.reason import Code
from reconciler.operator.read_only import ReadOnlyStore
from reconciler.prefect.api import find_server, local_server
from tests.reconciler.operator.diagnosis.breaking import (
    Break,
    Well,
    blueprint,
    listening,
    normalize,
    renamed,
    role,
    sql,
    ticked,
)
from tests.reconciler.operator.diagnosis.broken import BROKEN, PUT_BACK
from tests.roles import as_role
from tests.standins.prefect_api import scheduling
from tests.terminal import Terminal
from tests.world import World

PARTS = (
    *("settings", "database", "schema", "role", "steps", "tables", "secrets", "batches"),
    *("caps", "providers", "orders", "prices"),
    *("loop", "prefect", "window", "workers"),
)


@pytest.fixture(scope="module")
def url(server: str) -> Iterator[str]:
    """One database for all of these: each leaves it as it was."""
    admin = server.replace("/tracer?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE doctor TEMPLATE tracer")
        yield server.replace("/tracer?", "/doctor?")
        connection.execute("DROP DATABASE doctor WITH (FORCE)")


@pytest.fixture
def well(
    tracer: Terminal, world: World, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Well]:
    with scheduling() as prefect, listening(tmp_path / "home") as host:
        # To read Prefect's own settings would be to import it.
        monkeypatch.setattr(observers, "find_server", lambda _: local_server(prefect.url))
        monkeypatch.setenv("PREFECT_API_URL", prefect.url)
        monkeypatch.setattr(reconciler.local.worker_host, "ANSWER_S", 0.5)
        monkeypatch.setattr(loop_checks, "STARTS_S", 0.2)
        monkeypatch.setattr(ReadOnlyStore, "patience_s", 0.3)
        world.store.beat()
        if not world.sql("SELECT id FROM batches"):
            world.seed(1)
        yield Well(tracer, world, url, prefect, monkeypatch.setenv, host)


def test_all_is_well(well: Well) -> None:
    found = well.findings(code=0)
    assert tuple(found) == PARTS
    assert all(f["ok"] for f in found.values())
    assert not any(f["code"] or f["why"] or f["fix"] for f in found.values())
    assert found["batches"]["says"] == "the steps of running batches: normalize"
    well.tracer("doctor")
    assert "All is well: the next tick does its work." in well.tracer.err


@pytest.mark.parametrize(
    ("broken", "part", "code", "says", "fix"), BROKEN.values(), ids=BROKEN.keys()
)
def test_each_fault_is_one_finding(
    well: Well, broken: Break, part: str, code: Code, says: str, fix: str
) -> None:
    with broken(well):
        found = well.findings(code=1)
    faults = [finding for finding in found.values() if not finding["ok"]]
    assert [(finding["part"], finding["code"]) for finding in faults] == [(part, code)]
    assert says in faults[0]["says"]
    assert (faults[0]["fix"] or "").startswith(fix)
    assert bool(faults[0]["fix"]) == bool(fix)
    assert faults[0]["why"].endswith(".")


def test_a_step_whose_code_is_not_here(well: Well) -> None:
    forget = "DELETE FROM enrichment_registry WHERE step_name = 'headcount'"
    with sql(PUT_BACK.format("headcount"), forget)(well):
        assert "without code here: headcount" in well.findings(code=0)["steps"]["says"]
        with blueprint("normalize", "headcount")(well):
            found = well.findings(code=1)["batches"]
            assert found["code"] == Code.STEP_CODE_MISSING
            named = "No package that TRACER_STEPS names has the step headcount"
            assert found["says"] == f"{named}, and a running batch needs it"


def test_steps_that_cannot_be_loaded(well: Well) -> None:
    well.setenv("TRACER_STEPS", "no.such.steps")
    found = well.findings(code=1)
    codes = {part: finding["code"] for part, finding in found.items() if not finding["ok"]}
    assert codes == dict.fromkeys(("steps", "batches"), Code.STEP_CODE_BROKEN)


def test_a_fault_says_what_why_and_how_for_people(well: Well) -> None:
    with normalize("enabled = false")(well):
        well.tracer("doctor", code=1)
    shown = " ".join(well.tracer.out.split())
    assert "batches FIX The step normalize is disabled, and a running batch needs it" in shown
    assert "The step's rows stay PENDING until this is fixed." in shown
    assert "$ tracer steps set normalize enabled=true" in shown
    assert "1 part needs fixing." in well.tracer.err
    with renamed("tracer_version")(well):
        well.tracer("doctor", code=1)
    skipped = "Not checked until that is fixed: batches, caps, loop, orders, prices, providers, "
    assert skipped in " ".join(well.tracer.err.split())


def test_what_no_running_batch_needs_is_no_fault(well: Well) -> None:
    pause = sql("UPDATE batches SET paused = true", "UPDATE batches SET paused = false")
    with normalize("enabled = false")(well), pause(well):
        assert well.findings(code=0)["batches"]["says"] == "the steps of running batches: none"


def test_the_operators_role_is_well_and_the_conductors_too(well: Well) -> None:
    with role(OPERATOR)(well):
        assert "may inspect and steer, but not tick" in well.findings(code=0)["role"]["says"]
        well.setenv("DATABASE_URL", as_role(well.url, CONDUCTOR))
        assert well.findings(code=0)["role"]["says"] == f"{CONDUCTOR} may tick"


def test_roles_that_this_database_does_not_use_are_no_fault(well: Well) -> None:
    """Roles are the server's: another database on it may have made them."""
    with role("")(well):
        pass
    assert well.findings(code=0)["role"]["says"] == "tracer owns the tables"


@contextmanager
def ticking(well: Well, after_s: float = 0.0) -> Iterator[None]:
    """A loop that ticks, `after_s` seconds from now on."""
    stop = Event()

    def beat() -> None:
        stop.wait(after_s)
        while not stop.wait(0.1):
            well.world.store.beat()

    with ThreadPoolExecutor(1) as threads:
        beating = threads.submit(beat)
        try:
            yield
        finally:
            stop.set()
        beating.result()


def test_a_loop_that_died_a_moment_ago_is_found_out(well: Well) -> None:
    """Where nobody starts another one, its last tick says nothing."""
    well.prefect.deployed = False
    idle = sql("UPDATE polling SET idle_s = 3600", "UPDATE polling SET idle_s = 10")
    with idle(well), ticked("now() - interval '62 seconds'")(well):
        found = well.findings(code=1)
    assert re.search(r" s at most; the last one was 6\d s ago\.", well.tracer.err)
    assert "No loop has ticked since " in found["loop"]["says"]
    assert not found["prefect"]["ok"]


def test_a_first_run_that_is_on_its_way_is_waited_for(
    well: Well, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_checks, "STARTS_S", 30.0)
    with ticked("now() - interval '1 hour'")(well), ticking(well, after_s=1.0):
        found = well.findings(code=0)
    assert "Waiting for the run that Prefect is starting, 30 s at most." in well.tracer.err
    assert found["loop"]["says"].startswith("ticked at ")


RAN = {
    **{"id": "1", "name": "bold-swan", "state_name": "Crashed", "end_time": None},
    **dict.fromkeys(("expected_start_time", "start_time"), "2026-01-01T00:00:00+00:00"),
}


@pytest.mark.parametrize("ran", [[], [RAN]], ids=["none before", "one that has not ticked"])
def test_right_after_a_deploy_the_run_that_comes_is_named(
    well: Well, ran: list[dict[str, Any]]
) -> None:
    well.prefect.next_run_at = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    well.prefect.started = ran
    with ticked("NULL")(well):
        found = well.findings(code=1 if ran else 0)["loop"]
    if ran:
        assert found["code"] == Code.NO_TICK
    else:
        assert found["says"].startswith("no tick yet: Prefect starts its first run at ")


def test_what_is_wrong_is_said_without_a_wait_for_a_tick(well: Well) -> None:
    well.prefect.deployed = False
    well.end_host()
    with ticked("now() - interval '5 seconds'")(well), normalize("enabled = false")(well):
        found = well.findings(code=1)
    assert "Waiting" not in well.tracer.err
    assert found["loop"]["code"] == Code.NO_NEXT_TICK
    says = found["loop"]["says"]
    assert says.endswith(" (5 s ago), and nothing is set up to start the next one")
    faults = [part for part, finding in found.items() if not finding["ok"]]
    assert faults == ["batches", "loop", "prefect", "workers"]


def test_cron_in_place_of_prefect_is_well(well: Well) -> None:
    """`tracer reconcile` ticks, and starts the workers: no deployment and no host is needed."""
    well.end_host()
    well.prefect.deployed = False
    with ticking(well):
        found = well.findings(code=0)
    assert "Waiting for the next tick" in well.tracer.err
    assert found["prefect"]["says"].startswith("not used: Prefect has no deployment")
    assert "`tracer reconcile` starts one" in found["workers"]["says"]


def test_cron_on_a_machine_that_knows_no_prefect_is_well(
    well: Well, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "find_server", find_server)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL")
    with ticking(well):
        found = well.findings(code=0)
    assert found["prefect"]["says"].startswith("not used: No Prefect server is known")


def test_without_prefect_and_without_ticks_nothing_is_well(well: Well) -> None:
    well.end_host()
    well.prefect.deployed = False
    with ticked("now() - interval '1 hour'")(well):
        found = well.findings(code=1)
    faults = {part: finding["fix"] for part, finding in found.items() if not finding["ok"]}
    deploy = "tracer prefect deploy"
    assert faults == {"loop": deploy, "prefect": deploy, "workers": "tracer workers"}


def test_every_fix_of_ours_is_a_command_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for *_, fix in BROKEN.values():
        if fix.startswith("tracer "):
            words = [word for word in fix.split()[1:] if word.isalpha()][:2]
            assert run([*words, "--help"]) == 0, fix
            assert "Usage" in capsys.readouterr().out
