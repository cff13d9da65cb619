"""A step whose file cannot be imported is held, alone, until a host can load it."""

from pathlib import Path

import pytest

from reconciler.contract.holds import Hold, HoldKind, Unloaded
from reconciler.contract.settings import workers_socket
from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.schema.steps import sync_steps
from reconciler.spawners.local import LocalSpawner
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.hosts import hosting
from tests.roles import role_world
from tests.terminal import Terminal
from tests.world import STEPS, World, wait_until

NORMALIZE = "workers.steps.normalize"


def holds(world: World) -> dict[str, str]:
    rows = world.sql("SELECT step_name, kind, reason FROM holds ORDER BY step_name")
    return {row["step_name"]: f"{row['kind']}: {row['reason']}" for row in rows}


def ticked(world: World, home: Path) -> dict[str, int]:
    tick(world.store, LocalSpawner(workers_socket(home)), world.store.now())
    return world.statuses()


def test_the_registry_says_which_file_a_step_is_in(world: World, url: str) -> None:
    world.sql("UPDATE enrichment_registry SET module = NULL")
    sync_steps(url, STEPS)
    assert {row["step_name"]: row["module"] for row in world.sql("TABLE enrichment_registry")} == {
        name: f"workers.steps.{name}" for name in STEPS
    }


@pytest.mark.parametrize(
    ("unloaded", "held"),
    [
        (Unloaded("it is broken", NORMALIZE), ["normalize"]),
        (Unloaded("it is broken", "workers.steps"), ["normalize", "step_a", "step_b"]),
        (Unloaded("it is broken", "workers.step"), []),
        (Unloaded("it lacks its input", NORMALIZE, "normalize"), ["normalize"]),
        (Unloaded("it lacks its input", NORMALIZE, "nonesuch"), []),
    ],
    ids=str,
)
def test_what_cannot_be_loaded_is_held(world: World, unloaded: Unloaded, held: list[str]) -> None:
    assert world.worker.note_loaded([], [unloaded]) == dict.fromkeys(held, unloaded.says)
    assert holds(world) == dict.fromkeys(held, f"import: {unloaded.says}")
    assert world.worker.note_loaded([], [unloaded]) == {}


def test_what_a_worker_can_load_is_not_held_by_it(world: World) -> None:
    """Not even where another file has its name; and what held it before lets it go on."""
    folder = Unloaded("it is broken", "workers.steps")
    assert list(world.worker.note_loaded(["step_a", "step_b"], [folder])) == ["normalize"]
    world.sql("INSERT INTO holds VALUES ('step_a', 'failures', 'a bug')")
    assert world.worker.note_loaded(STEPS, []) == {"normalize": None}
    assert holds(world) == {"step_a": "failures: a bug"}


def test_a_workers_role_removes_no_other_hold(url: str) -> None:
    with role_world(url) as world:
        world.sql("INSERT INTO holds VALUES ('step_a', 'failures', 'a bug')")
        assert world.worker.rows("DELETE FROM holds RETURNING step_name") == []
        assert world.worker.hold("step_b", Hold(HoldKind.IMPORT, "it is broken"))
        assert world.worker.note_loaded(STEPS, []) == {"step_b": None}
        assert holds(world) == {"step_a": "failures: a bug"}


def test_a_host_holds_the_step_that_it_cannot_import_until_another_can(
    tmp_path: Path, world: World, url: str, tracer: Terminal
) -> None:
    """The others are worked meanwhile; no company fails by it, or uses an attempt."""
    world.sql("UPDATE enrichment_registry SET module = 'mine.broken' WHERE step_name = 'step_a'")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.py").write_text("raise ImportError('its library is gone')")
    world.seed(2, ["normalize", "step_a"])
    says = "mine.broken cannot be imported: ImportError: its library is gone"
    with hosting(tmp_path, url, steps=f"{NORMALIZE},mine"):
        wait_until(lambda: holds(world))
        wait_until(lambda: ticked(world, tmp_path) == {"COMPLETED": 2, "PENDING": 2})
        assert holds(world) == {"step_a": f"import: {says}"}
    batch = world.operator.batch("batch")
    found = explain(read_row(world.operator, batch, "company-0"))
    assert found.says == f"The step step_a is held: {says}"
    assert (found.code, found.fix) == ("step_held", "tracer steps sync")
    for command in (("steps",), ("inspect", "batch"), ("doctor",)):
        shown = tracer(*command, code=1 if command == ("doctor",) else 0) + tracer.err
        assert "The step step_a is held: mine.broken cannot be imported" in " ".join(shown.split())
    assert [row["attempt"] for row in world.rows("step_name = 'step_a'")] == [0, 0]
    with hosting(tmp_path, url):
        wait_until(lambda: ticked(world, tmp_path) == {"COMPLETED": 4})
    assert holds(world) == {}


def test_a_sync_lets_it_go_on(world: World, url: str) -> None:
    world.worker.note_loaded([], [Unloaded("it is broken", NORMALIZE)])
    assert sync_steps(url, STEPS) == ["Step normalize goes on: it was held"]


def test_a_process_that_cannot_import_what_its_host_can_gives_it_back(
    tmp_path: Path, world: World, url: str
) -> None:
    """The file has changed since the host was started, and another process has taken over."""
    world.sql("UPDATE enrichment_registry SET module = 'mine.broken' WHERE step_name = 'step_a'")
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "broken.py"
    file.write_text(
        "import multiprocessing\n"
        "if multiprocessing.parent_process():\n"
        "    raise ImportError('its library is gone')\n"
        "from workers.kit import Company, step\n"
        "from workers.steps.step_a import StepA\n"
        "@step()\n"
        "def step_a(company: Company) -> StepA:\n"
        "    return StepA(attribute_count=1)\n"
    )
    world.seed(2, ["step_a"])
    with hosting(tmp_path, url, steps="mine"):
        chunks = world.store.claim(world.store.now())
        assert LocalSpawner(workers_socket(tmp_path)).spawn(chunks) == [Spawned()]
        wait_until(lambda: world.statuses() == {"PENDING": 2})
        wait_until(lambda: list(holds(world)) == ["step_a"])
    assert {row["attempt"] for row in world.rows()} == {0}
