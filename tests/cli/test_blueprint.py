"""`tracer blueprint`: the route on a screen; a waterfall from the command line to the last view."""

import pytest

from reconciler.contract.states import Status
from tests.reconciler.contract.test_waterfalls import ends
from tests.terminal import Terminal
from tests.world import World, finish

SHORT = "normalize|step_a,step_b"
GROUP = {"first": ["normalize", "step_a"]}


@pytest.fixture
def halfway(tracer: Terminal, world: World, file: str) -> World:
    """Of two companies the first member has found one."""
    tracer("seed", file, "--blueprint", SHORT, "--name", "b")
    world.tick()
    ends(world, "normalize", Status.COMPLETED, Status.FAILED)
    return world


@pytest.mark.usefixtures("halfway")
def test_it_draws_the_route_with_what_came_of_each_place(tracer: Terminal) -> None:
    lines = [line.split() for line in tracer("blueprint", "b").splitlines()]
    assert lines == [
        ["step", "tried", "found", "failed", "hit", "rate", "not", "asked"],
        ["┌", "normalize", "2", "1", "1", "100%", "0"],
        ["└", "step_a", "0", "0", "0", "1"],
        ["step_b", "0", "0", "0", "0"],
    ]


@pytest.mark.usefixtures("halfway")
def test_programs_get_the_blueprint_and_its_places(tracer: Terminal) -> None:
    found = tracer.json("blueprint", "b")
    assert found["blueprint"] == [GROUP, "step_b"]
    names = ("step", "tried", "COMPLETED", "FAILED", "QUEUED", "not_asked", "hit_rate", "past")
    assert [[place[name] for name in names] for place in found["places"]] == [
        ["normalize", 2, 1, 1, 0, 0, 1.0, 2],
        ["step_a", 0, 0, 0, 1, 1, None, 2],
        ["step_b", 0, 0, 0, 1, 0, None, None],
    ]


def test_the_other_views_know_the_waterfall(tracer: Terminal, halfway: World) -> None:
    assert repr(SHORT) in tracer("history", "b")
    screen = tracer("inspect", "b")
    assert "waterfall" in screen
    assert "not asked" in screen
    finish(halfway)
    assert "83% done" in tracer("inspect", "b")  # 5 of 6: one member has FAILED
    tracer("wait", "b", code=1)
    [batch] = tracer.json("batches")
    assert (batch["blueprint"], batch["steps"]) == (
        [GROUP, "step_b"],
        ["normalize", "step_a", "step_b"],
    )
