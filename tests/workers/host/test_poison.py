"""A company that kills its worker ends alone, whatever shares the worker with it."""

import time
from pathlib import Path

import pytest

from tests.workers.host.test_crew import Hosted, attempts, start, ticked
from tests.world import World, wait_until

__all__ = ["start"]

STEPS = '''
"""normalize in the place of the bundled one; company-7 kills its process."""
import asyncio, ctypes, os, signal, sys, time
from workers.kit import Company, step
from workers.steps.normalize import Normalized

def recurse(_=0):
    return max([0], key=recurse)  # by way of C, whose stack is finite

@step(concurrency=100)
{kind} normalize(company: Company) -> Normalized:
    {wait}
    if company.key == "company-7":
        {death}
    return Normalized(short_name=company.key)
'''
THREADED = {"kind": "def", "wait": "time.sleep(0.02)"}
ON_LOOP = {"kind": "async def", "wait": "await asyncio.sleep(0.05)"}
DEATHS = {
    "exit": "os._exit(1)",
    "segfault": "ctypes.string_at(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "abort": "os.abort()",
    "stack overflow": "sys.setrecursionlimit(10**9); recurse()",
}


@pytest.mark.parametrize(
    ("how", "death"),
    [
        (ON_LOOP, "exit"),
        *(
            pytest.param(how, death, marks=pytest.mark.proof)
            for death in DEATHS
            for how in (THREADED, ON_LOOP)
            if (how, death) != (ON_LOOP, "exit")
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"].split()[0],
)
def test_one_that_kills_its_worker_is_the_only_one_to_fail(
    tmp_path: Path, world: World, start: Hosted, how: dict[str, str], death: str
) -> None:
    (tmp_path / "mysteps.py").write_text(STEPS.format(**how, death=DEATHS[death]))
    start()
    world.operator.set_step("normalize", {"chunk_size": 50, "backoff_s": 0.1, "max_attempts": 3})
    world.seed(100)
    began = time.monotonic()
    wait_until(lambda: ticked(world, tmp_path) is None or ended(world), within_s=60)
    assert world.statuses() == {"COMPLETED": 99, "FAILED": 1}
    (failed,) = world.rows("status = 'FAILED'")
    assert failed["error"] == "its worker died, or fell silent, while working it"
    assert failed["attempt"] - failed["forgiven"] == 3
    assert all(row["attempt"] - row["forgiven"] == 1 for row in world.rows("status = 'COMPLETED'"))
    kinds = {row["error_kind"] for row in world.sql("SELECT error_kind FROM attempts")}
    assert kinds == {"shared_worker", "worker_silent"}
    assert max(attempts(world).values()) == 6
    assert time.monotonic() - began < 60


def ended(world: World) -> bool:
    return world.statuses().keys() <= {"COMPLETED", "FAILED"}
