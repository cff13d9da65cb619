"""A real Postgres for the session (the embedded one), and a fresh database for each test."""

import gc
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings

from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.local.postgres import supervisor
from reconciler.operator.store import OperatorStore
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from reconciler.spawners.modal import ModalSpawner
from tests.databases import Databases
from tests.prefect_database import migrated
from tests.reconciler.spawners.dispatcher import BOUND_S, Dispatcher
from tests.scratch import make_scratch
from tests.standins.controlplane.client import use
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.terminal import project
from tests.terminal import FILE, Terminal
from tests.together import Together, place
from tests.world import World
from workers import app
from workers.runtime.loading import load_steps

# What hypothesis draws runs in both tiers: `make proof` has --hypothesis-profile=proof.
settings.register_profile("test", max_examples=20, deadline=None)
settings.register_profile("proof", max_examples=100, deadline=None)
settings.load_profile("test")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays: to look through it for garbage takes a third of the time."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """In the one process that has others run the tests."""
    config.option.loadscopereorder = False  # not by the number of tests, but as below
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in each of those others
        items.sort(key=lambda item: place(item.nodeid))


@pytest.fixture(autouse=True, scope="session")
def _strangers_environment() -> None:
    """What the person who runs the tests has set does not reach them."""
    for name in list(os.environ):
        if name.startswith(("TRACER_", "PREFECT_", "MODAL_")) or name == "DATABASE_URL":
            del os.environ[name]
    os.environ["DO_NOT_TRACK"] = "1"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of the session's Postgres, at the database from which tests are copied."""
    home = make_scratch("tracer-tests-")
    url = supervisor.acquire(home)
    upgrade_schema(url)
    sync_steps(url, load_steps())
    yield url
    supervisor.stop(home)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def databases(server: str) -> Iterator[Databases]:
    """Copies of it, migrated, with the bundled steps registered."""
    with closing(Databases(server)) as found:
        yield found


@pytest.fixture(scope="session")
def prefect_database(pytestconfig: pytest.Config) -> Path:
    """That of a server which has just been started for the first time."""
    assert pytestconfig.cache
    return migrated(pytestconfig.cache.mkdir("prefect"))


@pytest.fixture
def url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the test's own."""
    mark = request.node.get_closest_marker("filled")
    with databases.filled(**mark.kwargs) if mark else databases.one() as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The conductor's side."""
    with Store.connect(url) as found:
        yield found


@pytest.fixture
def worker(url: str) -> Iterator[WorkerStore]:
    """A worker's side."""
    with WorkerStore.connect(url, max_size=4) as found:
        yield found


@pytest.fixture
def operator(url: str) -> Iterator[OperatorStore]:
    """The operator's side."""
    with OperatorStore.connect(url) as found:
        yield found


@pytest.fixture
def world(store: Store, worker: WorkerStore, operator: OperatorStore) -> World:
    """All three sides, and the few words in which tests speak of them."""
    return World(store, worker, operator)


@pytest.fixture
def tracer(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("TRACER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRACER_WORKER_PROCESSES", "1")  # each takes a second to start
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody is there
    return Terminal(capfd)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "companies.csv"
    path.write_text(FILE)
    return str(path)


@pytest.fixture(scope="session")
def deployment() -> Iterator[ControlPlane]:
    """A control plane that the bundled steps are deployed on, by the real command."""
    with project("postgresql://unused") as plane:
        yield plane


@pytest.fixture
def plane(deployment: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane that this process's Modal client speaks to, as if just deployed on."""
    deployment.clear_faults()
    deployment.forget_calls()
    with use(deployment):
        yield deployment
    missing, deployment.missing = deployment.missing, set()
    assert not missing, f"the stand-in does not speak {missing}"


@pytest.fixture
def container(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a container: it has the secret, and no connection yet."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(app, "CONTAINER", app.Container())
    yield
    app.CONTAINER.close()


@pytest.fixture
def modal(world: World, plane: ControlPlane) -> Iterator[Dispatcher]:
    with closing(ModalSpawner(BOUND_S)) as spawner:
        yield Dispatcher(world, plane, spawner)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every statement that the test's own thread sends; another makes databases meanwhile."""
    found: list[object] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            found.append(query)
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return found
