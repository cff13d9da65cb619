"""Worker processes that die, hang or lose their host: what they had goes on elsewhere, soon."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.contract.settings import workers_socket
from reconciler.spawners.local import LocalSpawner
from reconciler.tick import TickReport, tick
from tests.hosts import hosting
from tests.workers.host.test_host import argued, children
from tests.world import World, wait_until
from workers.host.presence import Presence

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the children in /proc")

STEPS = '''
"""normalize in the place of the bundled one; company-0 behaves as a file of its name says."""
import asyncio, os, time
from pathlib import Path
from workers.kit import Company, step
from workers.steps.normalize import Normalized

def once(name):
    try:
        Path(name).unlink()
    except FileNotFoundError:
        return False
    return True

@step(timeout_s=1, concurrency={concurrency})
{kind} normalize(company: Company) -> Normalized:
    with open("worked", "a") as log:
        log.write(company.key + "\\n")
    if company.key == "company-0" and once("die"):
        os._exit(1)
    if company.key == "company-0" and once("hang"):
        time.sleep(600)
    if Path("slow").exists():
        {wait}
    return Normalized(short_name=company.key)
'''
THREADED = {"kind": "def", "wait": "time.sleep(0.5)"}
ON_LOOP = {"kind": "async def", "wait": "await asyncio.sleep(0.5)"}

Hosted = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, url: str) -> Iterator[Hosted]:
    """Starts a host with one worker process on what `mysteps.py` has; all end with the test."""
    with ExitStack() as hosts:
        yield lambda: hosts.enter_context(hosting(tmp_path, url, steps="mysteps"))


def write_steps(folder: Path, how: dict[str, str], concurrency: int = 1) -> None:
    (folder / "mysteps.py").write_text(STEPS.format(concurrency=concurrency, **how))


def called(folder: Path) -> int:
    """For how many companies the step has been called."""
    log = folder / "worked"
    return len(log.read_text().splitlines()) if log.exists() else 0


def ticked(world: World, home: Path) -> TickReport:
    return tick(world.store, LocalSpawner(workers_socket(home)), world.store.now())


def done(world: World, home: Path, companies: int) -> bool:
    ticked(world, home)
    return world.statuses() == {"COMPLETED": companies}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def attempts(world: World) -> dict[str, int]:
    rows = world.sql("SELECT key, attempt FROM workflow_states JOIN companies ON id = company_id")
    return {row["key"]: row["attempt"] for row in rows}


def test_a_host_takes_what_it_can_begin_soon(tmp_path: Path, world: World, start: Hosted) -> None:
    write_steps(tmp_path, ON_LOOP, concurrency=10)
    (tmp_path / "slow").touch()
    start()
    world.seed(100)
    assert ticked(world, tmp_path).claimed == 20
    assert ticked(world, tmp_path).claimed == 0
    (tmp_path / "slow").unlink()
    wait_until(lambda: done(world, tmp_path, 100))
    assert set(attempts(world).values()) == {1}


def test_calls_of_a_process_that_dies_go_to_another_at_once(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    """So does what it had begun, and no lease is waited for."""
    write_steps(tmp_path, THREADED)
    (tmp_path / "die").touch()
    start()
    world.operator.set_step("normalize", {"chunk_size": 1, "backoff_s": 0.1})
    world.seed(2)
    assert ticked(world, tmp_path).claimed == 2
    wait_until(lambda: done(world, tmp_path, 2))
    assert attempts(world) == {"company-0": 2, "company-1": 1}


def test_a_process_in_which_a_step_hangs_is_replaced(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    write_steps(tmp_path, THREADED)
    (tmp_path / "hang").touch()
    host = start()
    world.operator.set_step("normalize", {"backoff_s": 0})
    world.seed(3)
    wait_until(lambda: children(host.pid))
    (first,) = children(host.pid)
    wait_until(lambda: done(world, tmp_path, 3))
    wait_until(lambda: not argued(str(first)))
    assert attempts(world) == {"company-0": 2, "company-1": 1, "company-2": 1}
    assert children(host.pid)[0] != first


@pytest.mark.proof
def test_a_process_whose_event_loop_is_blocked_is_replaced(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    write_steps(tmp_path, ON_LOOP, concurrency=10)
    (tmp_path / "hang").touch()
    host = start()
    world.operator.set_step("normalize", {"backoff_s": 0, "lease_s": 3})
    world.seed(3)
    wait_until(lambda: children(host.pid))
    (first,) = children(host.pid)
    ticked(world, tmp_path)
    wait_until(lambda: not argued(str(first)))
    wait_until(lambda: done(world, tmp_path, 3))


def test_a_host_that_is_stopped_writes_what_is_under_way(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    """Its worker processes get the signal too, as of Ctrl-C; the rest comes back at once."""
    write_steps(tmp_path, ON_LOOP, concurrency=2)
    (tmp_path / "slow").touch()
    host = start()
    world.operator.set_step("normalize", {"chunk_size": 2})
    world.seed(4)
    assert ticked(world, tmp_path).claimed == 4
    wait_until(lambda: world.statuses() == {"IN_PROGRESS": 2, "QUEUED": 2})
    wait_until(lambda: called(tmp_path) == 2)
    for pid in [host.pid, *children(host.pid)]:
        os.kill(pid, signal.SIGTERM)
    assert host.wait(10) == 0
    assert world.statuses() == {"COMPLETED": 2, "PENDING": 2}
    assert not workers_socket(tmp_path).parent.exists()
    start()
    wait_until(lambda: done(world, tmp_path, 4))
    assert set(attempts(world).values()) == {1}


def test_after_a_kill_of_everything_all_goes_on_at_once(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    """What was not begun loses no attempt, and what was waits for no lease."""
    write_steps(tmp_path, ON_LOOP, concurrency=2)
    (tmp_path / "slow").touch()
    host = start()
    world.operator.set_step("normalize", {"chunk_size": 2, "backoff_s": 0.1, "lease_s": 600})
    world.seed(6)
    assert ticked(world, tmp_path).claimed == 4
    wait_until(lambda: world.statuses() == {"IN_PROGRESS": 2, "QUEUED": 2, "PENDING": 2})
    for pid in [host.pid, *children(host.pid)]:
        os.kill(pid, signal.SIGKILL)
    host.wait()
    (tmp_path / "slow").unlink()
    start()
    assert ticked(world, tmp_path).released == 4
    with within(20):  # two on a quiet machine; the leases have ten minutes
        wait_until(lambda: done(world, tmp_path, 6))
    assert sorted(attempts(world).values()) == [1, 1, 1, 1, 2, 2]


def test_what_a_process_without_its_host_has_under_way_is_not_taken_from_it(
    tmp_path: Path, world: World, start: Hosted
) -> None:
    write_steps(tmp_path, ON_LOOP)
    (tmp_path / "slow").touch()
    host = start()
    world.seed(1)
    ticked(world, tmp_path)
    wait_until(lambda: world.statuses() == {"IN_PROGRESS": 1})
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    start()
    wait_until(lambda: done(world, tmp_path, 1))
    assert attempts(world) == {"company-0": 1}
    assert (tmp_path / "worked").read_text() == "company-0\n"


def test_only_hosts_that_live_are_alive(tmp_path: Path) -> None:
    first, second, elsewhere = Presence(tmp_path), Presence(tmp_path), Presence(tmp_path / "x")
    assert first.family == second.family != elsewhere.family
    first.begin()
    second.begin()
    assert sorted(second.alive()) == sorted([first.name, second.name])
    with suppress(OSError):
        os.close(first._held or -1)  # as its end does
    assert second.alive() == [second.name]
    second.end()
    assert not list(tmp_path.iterdir())
