"""Steps that leak descriptors, or use multiprocessing, on a local host."""

import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from reconciler.contract.settings import workers_socket
from reconciler.local.worker_host import accepts
from tests.workers.host.test_crew import done
from tests.world import World, wait_until
from workers.host.descriptors import MOST_USED, are_low

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits differ elsewhere")

LEAKS = """
import os, time
from pathlib import Path
from workers.kit import Company, step
from workers.steps.normalize import Normalized

LEAKED = []

@step(concurrency=1)
def normalize(company: Company) -> Normalized:
    LEAKED.extend(open(os.devnull) for _ in range(10))
    with open("processes", "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(0.02)
    return Normalized(short_name=company.key)
"""
COMPUTES = """
import multiprocessing, operator
from workers.kit import Company, step
from workers.steps.normalize import Normalized

@step(concurrency=1)
def normalize(company: Company) -> Normalized:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Normalized(short_name=str(pool.apply(operator.add, (1, 2))))
"""


def host(home: Path, url: str, steps: str, most: int) -> "subprocess.Popen[bytes]":
    """A host with one worker process, which has so many descriptors."""
    (home / "mysteps.py").write_text(steps)
    given = {"DATABASE_URL": url, "TRACER_HOME": str(home), "TRACER_STEPS": "mysteps"}
    program = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {most}; exec "$0" -P -m workers.host', sys.executable],
        env={**os.environ, **given, "TRACER_WORKER_PROCESSES": "1"},
        cwd=home,
    )
    wait_until(lambda: accepts(workers_socket(home)))
    return program


def test_a_process_that_leaks_is_replaced_and_its_mates_lose_no_attempt(
    world: World, tmp_path: Path, url: str
) -> None:
    world.seed(60)
    program = host(tmp_path, url, LEAKS, most=400)
    try:
        wait_until(lambda: done(world, tmp_path, 60))
    finally:
        program.terminate()
        assert program.wait(20) == 0
    assert {row["attempt"] - row["forgiven"] for row in world.rows()} == {1}
    worked = Counter((tmp_path / "processes").read_text().split())
    assert len(worked) > 1
    assert worked.total() == 60  # none was called twice


def test_a_step_may_use_multiprocessing(world: World, tmp_path: Path, url: str) -> None:
    world.seed(8)
    program = host(tmp_path, url, COMPUTES, most=400)
    try:
        wait_until(lambda: done(world, tmp_path, 8))
    finally:
        program.terminate()
        assert program.wait(20) == 0
    assert world.sql("SELECT short_name FROM results.normalized") == [{"short_name": "3"}] * 8


def test_descriptors_are_low_before_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not are_low()
    probe = os.dup(0)
    os.close(probe)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (int(probe / MOST_USED) - 1, 4096))
    assert are_low()
