"""A host that is told to end: within its grace period, with 0, and nothing waits for a lease."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from reconciler.contract.settings import workers_socket
from tests.hosts import hosting
from tests.workers.host.test_crew import Hosted, children, start, ticked
from tests.world import World, wait_until

__all__ = ["start"]

STEPS = '''
"""normalize in the place of the bundled one; it takes a minute."""
import asyncio, time
from workers.kit import Company, step
from workers.steps.normalize import Normalized

@step(concurrency=2)
{kind} normalize(company: Company) -> Normalized:
    open("called", "a").close()
    {wait}
    return Normalized(short_name=company.key)
'''


@pytest.mark.parametrize(
    ("kind", "wait"),
    [("async def", "await asyncio.sleep(60)"), ("def", "time.sleep(60)")],
    ids=["loop", "thread"],
)
def test_what_outlasts_the_grace_period_is_given_up_and_costs_no_attempt(
    *,
    tmp_path: Path,
    world: World,
    start: Hosted,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    wait: str,
) -> None:
    monkeypatch.setenv("TRACER_GRACE_S", "0.5")
    (tmp_path / "mysteps.py").write_text(STEPS.format(kind=kind, wait=wait))
    host = start()
    world.operator.set_step("normalize", {"chunk_size": 2, "max_attempts": 2})
    world.seed(4)
    ticked(world, tmp_path)
    wait_until(lambda: world.statuses() == {"IN_PROGRESS": 2, "QUEUED": 2})
    wait_until((tmp_path / "called").exists)
    host.terminate()
    began = time.monotonic()
    assert host.wait(30) == 0
    assert time.monotonic() - began < 15
    assert set(world.statuses()) == {"IN_PROGRESS", "PENDING"}  # a second thread may not have begun
    assert {row["error_kind"] for row in world.rows("status = 'IN_PROGRESS'")} == {"stopped"}
    world.tick(world.store.now())
    told = world.sql("SELECT error FROM attempts")
    assert {row["error"] for row in told} == {"its worker was told to end before the step was done"}
    assert {row["attempt"] - row["forgiven"] for row in world.rows()} <= {0, 1}
    assert set(world.statuses()) <= {"PENDING", "QUEUED"}


@pytest.mark.parametrize(
    ("signal_", "family"),
    [
        pytest.param(signal.SIGTERM, False, id="SIGTERM to the host alone"),
        pytest.param(signal.SIGINT, True, id="Ctrl-C, which its processes hear too"),
        pytest.param(signal.SIGTERM, True, id="SIGTERM to all", marks=pytest.mark.proof),
        pytest.param(signal.SIGINT, False, id="SIGINT to the host alone", marks=pytest.mark.proof),
    ],
)
def test_a_host_whose_processes_are_still_starting_ends_with_0_and_no_traceback(
    tmp_path: Path, url: str, signal_: signal.Signals, family: bool
) -> None:
    with hosting(tmp_path, url, processes=2, stderr=subprocess.PIPE) as host:
        for pid in [host.pid, *(children(host.pid) if family else [])]:
            os.kill(pid, signal_)
        said = host.communicate(timeout=30)[1].decode()
    assert host.returncode == 0, said
    assert "Traceback" not in said
    assert not workers_socket(tmp_path).exists()
