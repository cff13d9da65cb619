"""The table that a run shows: which batches, and what of them."""

import pytest

from reconciler.operator import steering
from reconciler.prefect import overview as module
from reconciler.prefect.overview import held_back, overview
from tests.limits import stands
from tests.paying import paying, with_paid_steps
from tests.world import World


def test_a_row_per_step_has_its_rows_per_status(world: World) -> None:
    world.seed(3, ["normalize", "step_a"])
    world.tick()
    world.work("normalize", world.ids()[:1])
    steering.pause(world.operator, world.operator.batch("batch"))
    first, second = overview(world.store)
    assert first == {
        **{"batch": "batch", "id": 1, "status": "RUNNING (paused)", "step": "normalize"},
        **{"pending": 0, "queued": 2, "in progress": 0, "completed": 1},
        **{"not found": 0, "skipped": 0, "failed": 0, "cancelled": 0},
    }
    assert (second["step"], second["pending"]) == ("step_a", 0)


def test_those_that_run_come_first_then_the_newest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BATCHES", 3)
    for name in ("a", "b", "c", "d"):
        world.seed(1, name=name)
    for name in ("b", "c", "d"):
        steering.cancel(world.operator, world.operator.batch(name))
    assert [row["batch"] for row in overview(world.store)] == ["a", "d", "c"]


def test_without_a_batch_there_is_no_row(world: World) -> None:
    assert overview(world.store) == []


@pytest.mark.filled(fill=with_paid_steps)
def test_what_a_provider_holds_back_is_a_line(world: World) -> None:
    with paying():
        world.seed(30, ["staff"])
        assert held_back(world.store, overview(world.store)) == []
        stands(world, full_until="'2999-01-02 03:04:05Z'")
        full = "acme is full until 2999-01-02 03:04:05 UTC: 30 PENDING."
        assert held_back(world.store, overview(world.store)) == [full]
        stands(world, paused_until="'infinity'", pause_kind="'refused'", paused_why="'secret'")
        paused = "acme is paused until resumed: 30 PENDING."
        assert held_back(world.store, overview(world.store)) == [paused]
        stands(world, paused_until="NULL", full_until="NULL", max_concurrent="1")
        world.tick()
        busy = "acme has as many calls under way as it takes (1): 29 PENDING."
        assert held_back(world.store, overview(world.store)) == [busy]
        stands(world, max_concurrent="NULL", spacing_s="2", learned_rate="0.5")
        (line,) = held_back(world.store, overview(world.store))
        assert line.startswith("acme is called at the learned rate of 30/min: 29 PENDING, until")
        steering.pause(world.operator, world.operator.batch("batch"))
        assert held_back(world.store, overview(world.store)) == []
