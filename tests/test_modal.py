"""The Modal app exists, and its functions and the spawner say what they mean without a server."""

import importlib

import modal
import pytest

from reconciler.contract.store import Chunk
from reconciler.spawners.modal import ModalSpawner
from reconciler.spawners.protocol import Unknown
from tests.world import STEPS, World
from workers import app as module


def test_every_step_is_a_function_of_the_app() -> None:
    for step in STEPS:
        assert isinstance(getattr(module, f"call_{step}"), modal.Function)
    assert module.app.name == "tracer"


def test_a_call_runs_the_lifecycle_that_the_local_host_runs(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    module.store.cache_clear()
    world.seed(3)
    world.tick()
    module.call_normalize.local(world.ids())
    module.store().close()
    module.store.cache_clear()
    assert world.statuses() == {"COMPLETED": 3}


def test_the_time_out_covers_a_whole_chunk() -> None:
    assert module.time_out(STEPS["step_a"]) == 30 * 5 + 60


def test_the_apps_name_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_MODAL_APP", "tracer-staging")
    assert importlib.reload(module).app.name == "tracer-staging"
    monkeypatch.delenv("TRACER_MODAL_APP")
    importlib.reload(module)


def test_a_dispatch_is_bounded_in_time_and_its_outcome_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODAL_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-test")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-test")
    chunk = Chunk("normalize", "tracer", "normalize", 1, 1, [1, 2], [1, 1], [1, 1])
    (outcome,) = ModalSpawner(timeout_s=0.3).spawn([chunk])
    assert isinstance(outcome, Unknown)
