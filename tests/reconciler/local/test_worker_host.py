"""A command's own worker host, which is killed while the command needs it."""

import os
import signal
import sys
from pathlib import Path
from threading import Event

import pytest

from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import Settings
from reconciler.local import worker_host
from reconciler.local.worker_host import HostKeeper, ask_host, running_host
from reconciler.poll import LeaveReason, poll
from reconciler.spawners.choose import make_spawner
from reconciler.tick import TickReport
from tests.world import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host's pid is not known there")


def settings_of(home: Path, url: str) -> Settings:
    named = {"TRACER_HOME": home, "DATABASE_URL": url, "TRACER_WORKER_PROCESSES": 1}
    return Settings.model_validate(named)


def kill_host(settings: Settings) -> None:
    pid = ask_host(settings).pid
    assert pid
    os.kill(pid, signal.SIGKILL)


def test_a_host_that_is_killed_is_started_anew(
    world: World, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows are taken back at once, since the new host knows that the old one is gone."""
    settings, killed = settings_of(tmp_path, url), Event()
    world.seed(30, ["normalize", "step_a"])

    def kill_once(report: TickReport) -> None:
        if report.spawned and not killed.is_set():
            killed.set()
            kill_host(settings)

    with running_host(settings, url) as no_host:
        spawner = make_spawner(settings, no_host)
        left = poll(world.store, spawner, Event(), str, until_done=True, on_tick=kill_once)
    assert killed.is_set()
    assert left.reason is LeaveReason.DONE
    assert world.statuses() == {"COMPLETED": 60}
    assert "No worker host listens any more: starting one." in capsys.readouterr().err


def test_a_host_that_ends_again_and_again_is_not_started_for_ever(tmp_path: Path, url: str) -> None:
    settings = settings_of(tmp_path, url)
    keeper = HostKeeper(settings, url)
    keeper.start()
    try:
        for _ in range(worker_host.SHORT_LIVES - 1):
            kill_host(settings)
            keeper.restart()
        kill_host(settings)
        with pytest.raises(WorkFailed, match="ended 3 times soon after its start"):
            keeper.restart()
    finally:
        keeper.close()


def test_somebody_elses_host_is_waited_for_before_another_is_started(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, url)
    keeper = HostKeeper(settings, url)
    keeper.restart()
    assert ask_host(settings).fault is worker_host.HostFault.NOT_RUNNING
    monkeypatch.setattr(worker_host, "OTHERS_S", 0.0)
    keeper.restart()
    assert ask_host(settings).fault is None
    keeper.close()
