"""The local pool of worker processes, for real: spawned, killed, drained."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import enumerate as enumerate_

import pytest

from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.worker_host import HostFault, accepts, ask_host
from reconciler.spawners.local import NO_HOST, UNSENT, LocalSpawner
from reconciler.spawners.protocol import Refused, Spawned, Unknown
from reconciler.tick import tick
from tests.databases import Databases
from tests.hosts import hosting
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.world import World, chunk_of, wait_until
from workers.runtime.loading import load_steps


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def host(home: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    with hosting(home, url, "--until-eof", stdin=subprocess.PIPE) as process:
        yield process


@dataclass(frozen=True)
class Shared:
    """A host of which nothing but answers is asked, and its database."""

    home: Path
    url: str
    pid: int


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    home = tmp_path_factory.mktemp("shared")
    with databases.one() as url, hosting(home, url) as process:
        yield Shared(home, url, process.pid)


def spawner(home: Path) -> LocalSpawner:
    return LocalSpawner(workers_socket(home))


def children(pid: int) -> list[int]:
    """The worker processes of a host; multiprocessing's resource tracker is none."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():  # a child belongs to the thread that began it
        with suppress(FileNotFoundError):
            found += (task / "children").read_text().split()
    return [int(child) for child in found if "--multiprocessing-fork" in argued(child)]


def argued(pid: str) -> str:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_claimed_companies_are_worked_and_a_host_whose_owner_goes_finishes_what_it_took(
    world: World, home: Path, host: "subprocess.Popen[bytes]"
) -> None:
    world.seed(30)
    assert tick(world.store, spawner(home), world.store.now()).spawned == 30
    wait_until(lambda: world.statuses() == {"COMPLETED": 30})
    world.seed(20, ["step_a"], name="another")
    assert tick(world.store, spawner(home), world.store.now()).spawned == 20
    assert host.stdin
    host.stdin.close()
    assert host.wait(30) == 0
    assert world.statuses() == {"COMPLETED": 50}
    assert not workers_socket(home).parent.exists()


def test_a_step_that_the_host_does_not_have_is_refused(shared: Shared) -> None:
    answers = spawner(shared.home).spawn([chunk_of("nonesuch", [1]), chunk_of("normalize", [])])
    assert answers == [
        Refused("the worker host has no step 'nonesuch': restart it"),
        Spawned(),
    ]


def test_a_host_says_what_it_has(shared: Shared) -> None:
    found = ask_host(Settings.model_validate({"TRACER_HOME": shared.home}))
    assert found.steps == set(load_steps())
    assert found.up_s is not None
    assert 0 < found.up_s < 300
    assert found.fault is None
    if sys.platform == "linux":
        assert found.pid == shared.pid


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue refuses at once there")
def test_a_host_that_is_stopped_is_not_waited_for(
    home: Path, host: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.local.worker_host.ANSWER_S", 0.1)
    settings = Settings.model_validate({"TRACER_HOME": home})
    os.kill(host.pid, signal.SIGSTOP)
    with ExitStack() as callers:
        for _ in range(8):  # more than its queue takes
            assert ask_host(settings).fault == HostFault.SILENT
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            caller.connect_ex(str(workers_socket(home)))
    host.kill()
    host.wait()
    assert ask_host(settings).fault == HostFault.NOT_RUNNING


def test_a_second_host_of_the_same_home_says_so(shared: Shared) -> None:
    home = {"TRACER_HOME": str(shared.home), "DATABASE_URL": shared.url}
    second = subprocess.run(
        [sys.executable, "-m", "workers.host"],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 2
    assert second.stderr == "A worker host is running already for this TRACER_HOME.\n"


def test_of_hosts_that_start_at_once_one_listens_and_the_others_say_so(
    home: Path, shared: Shared
) -> None:
    environment = {**os.environ, "TRACER_HOME": str(home), "DATABASE_URL": shared.url}
    command = [sys.executable, "-m", "workers.host", "--until-eof"]
    pipe = subprocess.PIPE
    hosts = [
        subprocess.Popen(command, env=environment, stdin=pipe, stderr=pipe, text=True)
        for _ in range(3)
    ]
    try:
        wait_until(lambda: sum(host.poll() is not None for host in hosts) == 2)
        assert accepts(workers_socket(home))
    finally:
        said = [host.communicate(timeout=60)[1] for host in hosts]  # their input ends: so do they
    assert sorted(host.returncode for host in hosts) == [0, 2, 2]
    assert said.count("A worker host is running already for this TRACER_HOME.\n") == 2


def test_without_a_host_every_chunk_is_refused(home: Path) -> None:
    assert spawner(home).spawn([chunk_of("a", [1]), chunk_of("b", [2])]) == [Refused(NO_HOST)] * 2


def test_a_host_that_does_not_answer_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """Something listens and says nothing: what was sent may have been taken, and no more is."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        first, *others = LocalSpawner(path, timeout_s=0.1).spawn([chunk_of("a", [1])] * 3)
    assert isinstance(first, Unknown)
    assert others == [Refused(UNSENT)] * 2


def test_who_asked_and_has_gone_is_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with listening(tmp_path), socket.socket(socket.AF_UNIX) as link:
        link.connect(str(workers_socket(tmp_path)))
        link.sendall(b'{"room": true}\n' * 100)
        link.close()
        wait_until(lambda: not any("process_request" in thread.name for thread in enumerate_()))
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child in /proc")
def test_a_worker_that_waits_for_its_database_does_not_outlive_its_host(home: Path) -> None:
    with hosting(home, "postgresql://127.0.0.1:9/nowhere") as host:
        wait_until(lambda: children(host.pid))
        (child,) = children(host.pid)
        assert spawner(home).spawn([chunk_of("normalize", [1])]) == [Spawned()]
        host.kill()
        wait_until(lambda: not argued(str(child)))
