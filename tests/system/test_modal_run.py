"""Whole batches on Modal: real containers on the deployed code, started by real ticks."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.contract.settings import Settings
from reconciler.dispatch import until_answered
from reconciler.local.stack import Stack
from reconciler.operator import steering, views
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.spawners.modal import ModalSpawner
from reconciler.tick import tick
from tests.prefect_database import give
from tests.scratch import make_scratch
from tests.standins.controlplane.client import use
from tests.standins.controlplane.execution import Containers
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.terminal import project
from tests.standins.waiting import opened
from tests.world import World

BLUEPRINT = ["normalize", "step_a", "step_b"]
COMPANIES = 503


@pytest.fixture
def modal(url: str) -> Iterator[ControlPlane]:
    """The project's app, deployed with this database, and containers for each function."""
    with project(url, Containers(limit=3)) as plane, use(plane):
        yield plane
        assert not plane.missing, f"the stand-in does not speak {plane.missing}"


@pytest.fixture
def gated(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    """An app whose normalize waits until its gate is opened; containers come as calls wait."""
    monkeypatch.setenv("TRACER_STEPS", "tests.standins.waiting")
    with project(url, Containers(limit=8, per_function=8)) as plane, use(plane):
        yield plane
        assert not plane.missing, f"the stand-in does not speak {plane.missing}"


def waiting(world: World, name: str) -> int:
    """How many companies of the batch are under way."""
    batch = world.operator.batch(name)
    return len(world.rows("status = 'IN_PROGRESS' AND batch_id = %(b)s", b=batch.id))


def run(world: World, until: Callable[[], bool], within_s: float = 60) -> None:
    """Tick as the loop does."""
    deadline = time.monotonic() + within_s
    with until_answered(world.store, ModalSpawner()) as spawner:
        while not until():
            assert time.monotonic() < deadline, world.statuses()
            tick(world.store, spawner, world.store.now())
            time.sleep(0.1)


def finished(world: World, name: str = "batch") -> bool:
    return world.operator.batch(name).status == "FINISHED"


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_the_schedule_takes_a_batch_through_containers(
    url: str, modal: ControlPlane, monkeypatch: pytest.MonkeyPatch, prefect_database: Path
) -> None:
    """Prefect's schedule, tick, spawn, container, Postgres, next tick; no worker runs here."""
    home = make_scratch("tracer-stack-")
    give(prefect_database, home)
    monkeypatch.setenv("TRACER_WORKERS", "modal")
    settings = Settings.model_validate(
        {"TRACER_HOME": home, "DATABASE_URL": url, "TRACER_WORKERS": "modal"}
    )
    with OperatorStore.connect(url) as operator, Stack() as stack:
        operator.set_polling(poll_s=0.2)
        rows = [(line, str(line), f"Company {line} Inc.", None, {}) for line in range(COMPANIES)]
        seed_batch(operator, rows, name="batch", blueprint=BLUEPRINT, columns=[])
        stack.start(settings, url, lambda _: None)
        assert stack.ended_services() == []
        deadline = time.monotonic() + 200
        while operator.batch("batch").status != "FINISHED":
            assert time.monotonic() < deadline, views.progress(operator, operator.batch("batch"))
            time.sleep(0.2)
        steps = views.progress(operator, operator.batch("batch"))["steps"]
        assert [step["COMPLETED"] for step in steps] == [COMPANIES] * 3
        for table in ("normalized", "step_a", "step_b"):
            assert operator.rows(f"SELECT count(*) FROM results.{table}") == [{"count": COMPANIES}]
        ways = operator.rows("SELECT DISTINCT attempt, call_id FROM workflow_states")
    assert {way["attempt"] for way in ways} == {1}
    assert {way["call_id"] for way in ways} == {call.call_id for call in modal.calls}
    assert all(call.succeeded and call.deliveries == 1 for call in modal.calls)
    shutil.rmtree(home)


@pytest.mark.proof
def test_a_container_that_is_killed_costs_its_rows_an_attempt_and_nothing_else(
    world: World, url: str, gated: ControlPlane
) -> None:
    world.seed(60)
    world.operator.set_step("normalize", {"lease_s": 2, "backoff_s": 0.1, "chunk_size": 20})
    world.operator.set_step("normalize", {"max_in_flight": 40})
    run(world, lambda: world.statuses() == {"IN_PROGRESS": 40, "PENDING": 20})
    held = {r["company_id"] for r in world.rows("status = 'IN_PROGRESS'")}
    (container,) = gated.containers
    container.kill()
    with opened(url):
        run(world, lambda: finished(world))
    assert world.statuses() == {"COMPLETED": 60}
    assert len(world.sql("SELECT * FROM results.normalized")) == 60
    attempts = {row["company_id"]: row["attempt"] for row in world.rows()}
    assert {company for company, attempt in attempts.items() if attempt == 2} == held
    assert max(attempts.values()) == 2
    assert max(call.deliveries for call in gated.calls) == 2


@pytest.mark.proof
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("gated")
def test_a_company_that_kills_its_container_ends_alone(world: World, url: str) -> None:
    world.seed([*(f"company-{i}" for i in range(39)), "poison"])
    settings = {"lease_s": 2, "backoff_s": 0.1, "chunk_size": 20, "max_attempts": 2}
    world.operator.set_step("normalize", settings)
    with opened(url):
        run(world, lambda: finished(world), within_s=200)
    assert world.statuses() == {"COMPLETED": 39, "FAILED": 1}
    (failed,) = world.rows("status = 'FAILED'")
    assert failed["error"] == "its worker died, or fell silent, while working it"
    assert all(row["attempt"] - row["forgiven"] == 1 for row in world.rows("status = 'COMPLETED'"))


def test_a_step_that_no_container_can_import_is_held_and_the_others_go_on(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACER_STEPS", "workers.steps.normalize,tests.standins.unimportable")
    world.seed(3, ["normalize", "step_a"])
    with project(url, Containers(limit=2)) as plane, use(plane):
        run(world, lambda: world.statuses() == {"COMPLETED": 3, "PENDING": 3})
        run(world, lambda: bool(world.sql("SELECT * FROM holds")))
        run(world, lambda: world.statuses() == {"COMPLETED": 3, "PENDING": 3})
    (held,) = world.sql("SELECT step_name, kind, reason FROM holds")
    says = "tests.standins.unimportable cannot be imported: ImportError: its library is in no image"
    assert held == {"step_name": "step_a", "kind": "import", "reason": says}
    assert {row["attempt"] for row in world.rows("step_name = 'step_a'")} == {0}


@pytest.mark.proof
def test_a_cancelled_batch_frees_its_calls_and_leaves_its_neighbours_alone(
    world: World, url: str, gated: ControlPlane
) -> None:
    world.operator.set_step("normalize", {"chunk_size": 40, "lease_s": 5})
    for name in ("kept", "lost"):
        world.seed([f"{name}-{i}" for i in range(40)], name=name)
        run(world, lambda name=name: waiting(world, name) == 40)
    lost = world.operator.batch("lost")
    (container,) = gated.containers
    steering.cancel(world.operator, lost)
    run(world, lambda: gated.calls[1].cancelled)
    assert waiting(world, "kept") == 40
    with opened(url):
        run(world, lambda: finished(world, "kept"))
    assert [one.pid for one in gated.containers] == [container.pid]
    kept = world.rows("batch_id <> %(b)s", b=lost.id)
    assert {(row["status"], row["attempt"]) for row in kept} == {("COMPLETED", 1)}
    assert {r["status"] for r in world.rows("batch_id = %(b)s", b=lost.id)} == {"CANCELLED"}
    assert len(world.sql("SELECT * FROM results.normalized")) == 40
    assert not gated.calls[0].cancelled
    assert gated.until(lambda: gated.calls[1].done, 5)


@pytest.mark.proof
def test_a_second_deploy_takes_over_from_the_first(world: World, modal: ControlPlane) -> None:
    assert modal.apps["tracer"].version == 1
    world.seed(3, name="before")
    run(world, lambda: finished(world, "before"))


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_a_thousand_companies_in_flight_take_four_containers(
    world: World, url: str, gated: ControlPlane
) -> None:
    world.seed(1000)
    world.operator.set_step("normalize", {"chunk_size": 50})
    run(world, lambda: world.statuses() == {"IN_PROGRESS": 1000}, within_s=120)
    assert len(gated.containers) <= 4
    connections = world.sql(
        "SELECT count(*) AS n FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'tracer_worker'"
    )
    with opened(url):
        run(world, lambda: finished(world))
    assert world.statuses() == {"COMPLETED": 1000}
    assert {row["attempt"] for row in world.rows()} == {1}
    assert connections[0]["n"] <= 4 * 4
