"""`tracer explain` of rows that the local worker host should have, or had before it died."""

import os
from pathlib import Path

import pytest

from reconciler.contract.settings import Settings
from reconciler.local.stack_file import StackFile, running, write_stack
from reconciler.local.worker_host import HostFault, HostStatus, host_fix
from reconciler.operator.diagnosis import observers
from reconciler.spawners.protocol import Refused, Spawned
from tests.reconciler.operator.diagnosis.breaking import listening, mute
from tests.reconciler.operator.diagnosis.explaining import reason, told
from tests.standins.prefect_api import scheduling
from tests.terminal import Terminal
from tests.world import World

HOST = "tracer workers"


def claimed(world: World, ago_s: int = 5) -> None:
    """A row that was claimed a while ago."""
    world.claimed(1)
    world.sql(f"UPDATE workflow_states SET queued_at = now() - interval '{ago_s} seconds'")


def begun(world: World, ago_s: int, beat_s: int, lease_s: int = 60) -> None:
    """A row that a worker began `ago_s` ago, and whose lease it last renewed `beat_s` ago."""
    world.claimed(1)
    world.worker.begin("normalize", world.ids())
    world.operator.set_step("normalize", {"lease_s": lease_s})
    world.sql(
        f"UPDATE workflow_states SET started_at = now() - interval '{ago_s} seconds',"
        f" lease_expires_at = now() - interval '{beat_s} seconds' + interval '{lease_s} seconds'"
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_call_is_lost_with_its_host(tracer: Terminal, world: World, home: Path) -> None:
    claimed(world)
    found = told(tracer)
    assert found["says"].startswith(
        "Claimed, and not begun: its call was lost with the worker host, and the tick after "
    )
    assert found["says"].endswith(" takes it up again. No worker host is running here")
    assert found["fix"] == HOST
    with listening(home):
        found = told(tracer)
    assert " takes it up again. The worker host here was started at " in found["says"]
    assert found["fix"] is None
    world.sql("UPDATE workflow_states SET attempt = 5")
    assert " ends it as FAILED, after attempt 5 of 5. " in told(tracer)["says"]


def test_a_call_waits_in_the_host_that_took_it(tracer: Terminal, world: World, home: Path) -> None:
    with listening(home):
        world.claimed(1)
        found = told(tracer)
    assert found["says"].startswith("Claimed, and not begun: a worker has until ")
    seen = found["evidence"]["observed"]
    assert seen.pop("host_since") < found["evidence"]["queued_at"]
    assert seen == {"workers": "local", "workers_ready": True}


def test_a_call_of_modal_is_not_lost_with_a_host_here(tracer: Terminal, world: World) -> None:
    world.spawner.answer = Spawned("fc-7")
    claimed(world)
    assert "lost" not in told(tracer)["says"]


def test_a_host_that_does_not_answer(
    tracer: Terminal, world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.local.worker_host.ANSWER_S", 0.1)
    claimed(world)
    with mute(home):
        found = told(tracer)
        assert "begun. The worker host here does not answer. The lease of " in found["says"]
        assert found["fix"].startswith("kill -9 ")
        assert found["fix"].endswith(f" && {HOST}")
        home.mkdir(exist_ok=True)
        (owner,) = running("owner", {os.getpid()})
        write_stack(home, StackFile("http://127.0.0.1:9/api", owner, []))
        assert told(tracer)["fix"] == "tracer down && tracer up"


def test_a_stack_that_is_starting_is_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home.mkdir()
    (owner,) = running("owner", {os.getpid()})
    write_stack(home, StackFile("http://127.0.0.1:9/api", owner, [], starting=True))
    here = Settings.model_validate({"TRACER_HOME": home, "DATABASE_URL": None})
    fault = observers.observe_prefect(here).prefect
    assert fault
    assert (fault.code, fault.fix) == ("stack_starting", None)


def test_a_command_of_prefects_is_for_the_server_of_the_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    here = Settings.model_validate({"TRACER_HOME": home, "DATABASE_URL": None})
    home.mkdir()
    with scheduling() as scheduler:
        (server,) = running("prefect-server", {os.getpid()})
        write_stack(home, StackFile(scheduler.url, server, [server]))
        prefect = f"PREFECT_API_URL={scheduler.url} prefect"
        for name, value, fix in (
            ("pool_paused", True, f"{prefect} work-pool resume tracer"),
            ("deployed", False, "tracer prefect deploy"),
            ("workers", 0, "tracer down && tracer up"),
            ("active", False, "tracer interval resume"),
        ):
            before = getattr(scheduler, name)
            setattr(scheduler, name, value)
            fault = observers.observe_prefect(here).prefect
            assert fault
            assert fault.fix == fix
            setattr(scheduler, name, before)


def test_a_host_that_does_not_have_the_step(tracer: Terminal, world: World, home: Path) -> None:
    world.seed(1)
    world.store.beat()
    world.spawner.answer = Refused("the worker host has no step 'normalize': restart it")
    world.tick()
    with listening(home, "normalize"):
        found = told(tracer)
    assert ": spawn refused: the worker host has no step 'normalize'" in found["says"]
    assert found["fix"].startswith("kill ")
    fault = found["evidence"]["observed"]["workers_fault"]
    assert fault["code"] == "worker_host_lacks_step"
    assert fault["says"] == "The worker host here does not have the step normalize"


def test_without_a_database_url_a_stack_brings_the_host(home: Path) -> None:
    here = Settings.model_validate({"TRACER_HOME": home, "DATABASE_URL": None})
    assert host_fix(here, HostStatus(fault=HostFault.NOT_RUNNING)) == "tracer up"
    assert host_fix(here, HostStatus(pid=7)) == "kill 7 && tracer up"


def test_a_spawn_that_no_host_took(tracer: Terminal, world: World) -> None:
    world.seed(1)
    world.store.beat()
    world.spawner.answer = Refused("no worker host is running")
    world.tick()
    found = told(tracer)
    assert ": spawn refused: no worker host is running" in found["says"]
    assert found["fix"] == HOST


def test_a_worker_that_is_silent(world: World) -> None:
    begun(world, ago_s=300, beat_s=41)
    found = reason(world)
    assert ", and its worker has been silent since " in found.says
    assert " (41 s ago): the tick after " in found.says
    assert found.says.endswith(" s) takes it up again")
    assert found.fix is None


def test_a_worker_that_beats_is_running(world: World) -> None:
    begun(world, ago_s=300, beat_s=39)
    assert reason(world).says.startswith("normalize is running since ")


def test_a_lease_of_another_length_tells_nothing(world: World) -> None:
    begun(world, ago_s=20, beat_s=5)
    world.operator.set_step("normalize", {"lease_s": 600})
    assert reason(world).says.startswith("normalize is running since ")


def test_a_host_that_died_is_said_of_what_it_worked(
    tracer: Terminal, world: World, home: Path
) -> None:
    begun(world, ago_s=300, beat_s=10)
    found = told(tracer)
    assert " by a worker host that is gone: the tick after " in found["says"]
    assert found["says"].endswith(". No worker host is running here")
    assert found["fix"] == HOST
    with listening(home):
        found = told(tracer)
    assert ". The worker host here was started at " in found["says"]
    assert found["fix"] is None
    world.sql("UPDATE workflow_states SET lease_expires_at = now() + interval '10 seconds'")
    found = told(tracer)
    assert "silent since " in found["says"]
    assert found["says"].endswith(". No worker host is running here")


def test_a_stack_that_was_stopped_is_said_at_once(
    tracer: Terminal, world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.operator.set_polling(idle_s=3600)
    world.seed(1)
    world.sql("UPDATE polling SET ticked_at = now() - interval '20 seconds'")
    found = told(tracer)
    assert found["says"].startswith("No loop has ticked since ")
    assert found["says"].endswith(
        "Set PREFECT_API_URL, or start one. No worker host is running here"
    )
    assert found["fix"] == "tracer reconcile --until-done"
    with listening(home):
        assert told(tracer)["says"].startswith("Its turn has come")
    world.sql("UPDATE polling SET ticked_at = now() - interval '3 seconds'")
    asked: list[object] = []
    monkeypatch.setattr(observers, "observe_prefect", asked.append)
    assert told(tracer)["says"].startswith("Its turn has come")
    assert not asked
