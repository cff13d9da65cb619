"""The table that a run shows: which batches, and what of them."""

import pytest

from reconciler.operator import steering
from reconciler.prefect import overview as module
from reconciler.prefect.overview import overview
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
