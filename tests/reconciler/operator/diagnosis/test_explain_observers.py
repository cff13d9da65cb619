"""`tracer explain` on the command line: what it sees outside of the database, and what it shows."""

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from reconciler.local import worker_host
from reconciler.operator.diagnosis import observers
from reconciler.operator.diagnosis.rules import ended, in_flight, loop, pending, step, workers
from reconciler.prefect.api import local_server
from reconciler.spawners.protocol import Spawned
from tests.reconciler.operator.diagnosis.explaining import told
from tests.standins.controlplane.client import environment
from tests.standins.controlplane.faults import silent_server
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.prefect_api import Scheduler, scheduling
from tests.terminal import SEED, Terminal
from tests.world import World

LONG_AGO = "UPDATE polling SET ticked_at = now() - interval '1 hour'"


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    with scheduling() as scheduler:
        monkeypatch.setattr(observers, "find_server", lambda _: local_server(scheduler.url))
        yield scheduler


SCHEDULES: dict[str, tuple[dict[str, object], str, str]] = {
    "away": (
        {"url": "http://127.0.0.1:9/api"},
        ". No Prefect server answers at http://127.0.0.1:9/api",
        "tracer reconcile --until-done",
    ),
    "not deployed": (
        {"deployed": False},
        ". Prefect has no deployment of the loop",
        "tracer prefect deploy",
    ),
    "paused": ({"active": False}, ". Prefect's schedule is paused", "tracer interval resume"),
    "no worker": (
        {"workers": 0},
        ". No Prefect worker polls the pool",
        "prefect worker start --pool tracer --type process",
    ),
    "no schedule": (
        {"scheduled": False},
        ". Prefect's deployment has no interval schedule",
        "tracer interval set --every 2m",
    ),
    "on another pool": (
        {"pool": "other", "workers": 0},
        ". No worker polls the work pool of Prefect's deployment",
        "tracer prefect deploy",
    ),
    "a pool paused": (
        {"pool": "other", "pool_paused": True},
        ". Prefect's work pool is paused",
        "prefect work-pool resume other",
    ),
    "a queue that takes nothing": (
        {"queue_limit": 0},
        ". Prefect's work queue has reached its concurrency limit",
        "prefect work-queue clear-concurrency-limit default --pool tracer",
    ),
    "a run that nobody starts": (
        {"next_run_at": "2020-01-02T03:04:05+00:00"},
        ". Prefect's next run is late, by ",
        "prefect worker start --pool tracer --type process",
    ),
    "well": (
        {"next_run_at": "2100-01-02T03:04:05+00:00"},
        ". Prefect's schedule is active, and its next run is due at 2100-01-02 ",
        "tracer interval resume",
    ),
    "well, with nothing planned": (
        {"next_run_at": None},
        ". Prefect's schedule is active, and it has planned no run",
        "tracer interval resume",
    ),
}


def test_why_no_tick_comes(tracer: Terminal, world: World, prefect: Scheduler) -> None:
    world.seed(1)
    world.sql(LONG_AGO)
    for name, (values, says, fix) in SCHEDULES.items():
        before = {key: getattr(prefect, key) for key in values}
        for key, value in values.items():
            setattr(prefect, key, value)
        found = told(tracer)
        assert found["says"].startswith("No loop has ticked since "), name
        assert says in found["says"], name
        assert found["fix"] == fix, name
        for key, value in before.items():
            setattr(prefect, key, value)
    world.store.beat()
    assert "prefect" not in told(tracer)["evidence"].get("observed", {})


def test_a_prefect_that_is_silent_is_not_waited_for(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(1)
    world.sql(LONG_AGO)
    monkeypatch.setattr(observers, "ANSWER_S", 0.3)
    with silent_server() as url:
        monkeypatch.setattr(observers, "find_server", lambda _: local_server(f"{url}/api"))
        started = time.monotonic()
        assert told(tracer)["code"] == "prefect_unreachable"
    assert time.monotonic() - started < observers.ANSWER_S + 2


def test_a_function_that_is_not_deployed(
    tracer: Terminal, world: World, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACER_WORKERS", "modal")
    world.seed(1)
    world.spawner.answer = Spawned("fc-7")
    world.tick()
    assert "call fc-7 has until " in told(tracer)["says"]
    world.sql("UPDATE enrichment_registry SET function_name = 'gone'")
    found = told(tracer)
    assert "The function gone of the app tracer is not deployed on Modal" in found["says"]
    assert found["fix"] == "tracer modal deploy"
    world.sql("UPDATE enrichment_registry SET app_name = 'gone'")
    assert "The function gone of the app gone is not" in told(tracer)["says"]
    with environment({**plane.environment(), "MODAL_TOKEN_SECRET": "as-wrong"}):
        found = told(tracer)  # nothing can be seen, which is no error
    assert "call fc-7 has until " in found["says"]
    assert found["evidence"]["observed"] == {"workers": "modal"}


@pytest.mark.parametrize(
    ("change", "says", "fix"),
    [
        (
            "UPDATE tracer_version SET version_num = '0001'",
            "The schema is too old: it has revision 0001, and this Tracer needs ",
            "tracer db upgrade",
        ),
        (
            "UPDATE tracer_version SET version_num = '9999'",
            "This Tracer is too old: the schema has revision 9999, and this ",
            None,
        ),
        (
            "DROP TABLE tracer_version",
            "The database has Tracer's tables, and `tracer_version` has lost",
            'psql "$(tracer db url)" -c "CREATE TABLE IF NOT EXISTS tracer_version',
        ),
    ],
)
def test_a_schema_that_is_not_this_ones_is_the_reason(
    tracer: Terminal, world: World, change: str, says: str, fix: str | None
) -> None:
    world.seed(1)
    world.sql(change)
    found = told(tracer)
    assert found["says"].startswith(says)
    assert (found["fix"] or "").startswith(fix or "")
    assert bool(found["fix"]) == bool(fix)
    assert found["status"] is None
    assert found["evidence"]["needed"]


def test_for_people_it_says_it_in_words(tracer: Terminal, file: str, world: World) -> None:
    tracer("seed", file, *SEED)
    world.store.beat()
    world.tick()
    tracer("explain", "companies", "66740")
    shown = [" ".join(line.split()) for line in tracer.out.splitlines()]
    assert shown[0].startswith("Claimed, and not begun: its call was lost with the worker host, a")
    assert "This command would move it: tracer workers" in shown
    assert "step normalize, 1 of 2" in shown
    assert "status QUEUED, attempt 1 of 5" in shown
    assert "batch companies: RUNNING, priority 0" in shown
    assert "workers local: No worker host is running here" in shown
    time_of_day = r"\d\d:\d\d:\d\d"
    lease = rf"lease runs until {time_of_day} \(in 4 min 5\d s\)"
    patterns = (lease, rf"last tick {time_of_day} \(.* s ago\)")
    for pattern in patterns:
        assert [line for line in shown if re.fullmatch(pattern, line)], tracer.out
    assert "_" not in tracer.out
    assert max(map(len, tracer.out.splitlines())) <= 80


def test_for_programs_names_stay(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED)
    found = told(tracer, "companies", "66740")
    assert list(found) == [
        *("batch", "company", "step", "status"),
        *("code", "says", "fix", "evidence"),
    ]
    assert (found["step"], found["status"]) == ("normalize", "PENDING")
    assert found["says"].startswith("No loop has ever ticked")
    assert {"attempt", "available_at", "max_in_flight", "in_flight", "next_claim"} <= set(
        found["evidence"]
    )
    tracer("explain", "companies", "no such key", code=2)
    assert "no company with the key 'no such key'" in tracer.err
    tracer("explain", "no such batch", "66740", code=2)
    assert "There is no batch 'no such batch'" in tracer.err


@pytest.mark.parametrize("name", ["-x", "a 'quoted' \"one\"", "[red]boo[/]", "new\nline"])
def test_a_fix_is_for_any_name(tracer: Terminal, world: World, name: str) -> None:
    world.seed(1, name=name)
    world.sql("UPDATE batches SET paused = true")
    program, *words = shlex.split(told(tracer, name)["fix"])
    assert program == "tracer"
    tracer(*words)
    assert not world.sql("SELECT paused FROM batches")[0]["paused"]


def commands(command: Any, path: str = "tracer") -> Iterator[str]:
    """Every command of the Typer app, as one types it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{path} {name}"
        yield from commands(inner, f"{path} {name}")


def test_every_fix_is_a_command_that_there_is() -> None:
    there = set(commands(typer.main.get_command(app)))
    modules = (step, in_flight, loop, pending, ended, workers, worker_host)
    sources = [Path(str(module.__file__)).read_text() for module in modules]
    fixes = set(re.findall(r"\"((?:tracer|prefect|modal) [-\w. ]+)", "".join(sources)))
    assert len(fixes) > 10
    for fix in fixes:
        if fix.startswith("tracer "):
            assert [command for command in there if f"{fix} ".startswith(f"{command} ")], fix


def test_what_no_command_moves_is_said_to_move_by_itself(
    tracer: Terminal, file: str, world: World
) -> None:
    tracer("seed", file, *SEED)
    world.store.beat()
    by_itself = "It moves by itself: no command is needed."
    world.sql(
        "UPDATE workflow_states SET available_at = now() + interval '1 h', error = 'busy',"
        " error_kind = 'raised'"
    )
    assert by_itself in tracer("explain", "companies", "66740")
    tracer("cancel", "companies", "--yes")
    assert by_itself not in tracer("explain", "companies", "66740")
