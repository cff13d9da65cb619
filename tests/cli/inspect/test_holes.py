"""`tracer inspect` where a row lacks times that somebody has taken out by hand."""

import pytest

from tests.terminal import Terminal
from tests.world import World


@pytest.mark.parametrize("shown", [(), ("--company", "company-0"), ("--json",)])
@pytest.mark.parametrize("lacking", ["started_at", "queued_at", "started_at, queued_at"])
def test_a_row_in_progress_without_its_times_is_shown(
    tracer: Terminal, world: World, shown: tuple[str, ...], lacking: str
) -> None:
    world.claimed(1)
    world.worker.begin("normalize", world.ids())
    columns = ", ".join(f"{column} = NULL" for column in lacking.split(", "))
    world.sql(f"UPDATE workflow_states SET {columns}")
    assert "normalize" in tracer("inspect", "batch", *shown)
    tracer("explain", "batch", "company-0")
