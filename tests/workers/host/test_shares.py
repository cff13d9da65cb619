"""A step that takes long holds up no other step of the same process."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import hosting
from tests.workers.host.test_crew import ticked
from tests.world import World, wait_until

STEPS = '''
"""step_a takes until there is a file `go`, normalize no time at all."""
import asyncio, time
from pathlib import Path
from workers.kit import Company, step
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA

@step(timeout_s=60)
{kind} step_a(company: Company) -> StepA:
    while not Path("go").exists():
        {wait}
    return StepA(attribute_count=1)

@step()
{kind} normalize(company: Company) -> Normalized:
    return Normalized(short_name=company.key)
'''
KINDS = {
    "threads": {"kind": "def", "wait": "time.sleep(0.05)"},
    "the event loop": {"kind": "async def", "wait": "await asyncio.sleep(0.05)"},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def home(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Iterator[Path]:
    """A host with one worker process."""
    (tmp_path / "mysteps.py").write_text(STEPS.format(**request.param))
    with hosting(tmp_path, url, steps="mysteps"):
        yield tmp_path
        (tmp_path / "go").touch()


def done(world: World, home: Path, step: str) -> int:
    ticked(world, home)
    return len(world.rows("step_name = %(step)s AND status = 'COMPLETED'", step=step))


def test_a_long_step_holds_up_no_other(world: World, home: Path) -> None:
    """With more companies of it than its process works at a time."""
    world.seed(300, ["step_a"], name="long")
    wait_until(lambda: done(world, home, "step_a") == 0 and world.statuses().get("IN_PROGRESS"))
    world.seed(60, ["normalize"], name="short")
    began = time.monotonic()
    wait_until(lambda: done(world, home, "normalize") == 60, 10)
    assert time.monotonic() - began < 5
    assert done(world, home, "step_a") == 0
    (home / "go").touch()
    wait_until(lambda: done(world, home, "step_a") == 300)
