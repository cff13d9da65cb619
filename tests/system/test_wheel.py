"""What `pip install` gives: a `tracer` that works in an empty folder, whatever else is there."""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from reconciler.contract.settings import workers_socket
from reconciler.dispatch import until_answered
from reconciler.local.worker_host import accepts
from reconciler.spawners.modal import ModalSpawner
from reconciler.tick import tick
from tests.standins.controlplane.client import use
from tests.standins.controlplane.execution import Containers
from tests.standins.controlplane.server import serve
from tests.standins.controlplane.terminal import ROOT, modal
from tests.world import World, wait_until

STRANGERS = ("alembic", "cli", "reconciler", "workers")
STRANGER = "raise RuntimeError('this is the package of somebody else')\n"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")


@dataclass
class Project:
    """The folder of a stranger, who has installed the wheel."""

    bin: Path
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0) -> str:
        """What a command of the environment's `bin` says, on stdout and stderr."""
        done = subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def tracer(self, *words: str, code: int = 0) -> str:
        """What `tracer WORDS` says."""
        said = self.run("tracer", *words, code=code)
        assert "Traceback" not in said
        return said

    @contextmanager
    def running(self, *words: str) -> Iterator[Path]:
        """`tracer WORDS` for the length of the block; gives the file that has what it says."""
        said = self.folder / "said.log"
        with said.open("w") as log:
            program = subprocess.Popen(
                [self.bin / "tracer", *words],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield said
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait(60)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as a release is, but with no network."""
    folder = tmp_path_factory.mktemp("dist")
    build = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    subprocess.run(build, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, which sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    (site,) = folder.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    install = (*PIP, "--python", python, "install", "--no-deps", "--no-index", str(wheel))
    subprocess.run(install, check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def leads(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Made by `tracer init`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
    stranger = Project(installed, tmp_path_factory.mktemp("stranger"), environment)
    assert "enrich/steps/headcount.py" in stranger.tracer("init", "leads")
    return replace(stranger, folder=stranger.folder / "leads")


@pytest.fixture
def project(leads: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    folder = shutil.copytree(leads.folder, tmp_path / "leads")
    return Project(leads.bin, folder, dict(leads.environment))


@pytest.fixture
def among_strangers(project: Project) -> Project:
    """The project, in a folder that has packages of our names, found first by Python."""
    for name in STRANGERS:
        (project.folder / name).mkdir()
        (project.folder / name / "__init__.py").write_text(STRANGER)
    project.environment["PYTHONPATH"] = "."
    return project


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """A database with nothing in it."""
    with psycopg.connect(server.replace("/tracer?", "/postgres?"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE wheel")
        yield server.replace("/tracer?", "/wheel?")
        admin.execute("DROP DATABASE wheel WITH (FORCE)")


def test_the_wheel_has_what_commands_read_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"cli", "reconciler", "tracer_command.py", "workers"}
    assert {f"{part}/py.typed" for part in ("cli", "reconciler", "workers")} <= names
    assert "reconciler/prefect/prefect.yaml" in names
    assert "reconciler/operator/seeding/shared_hosts.txt" in names
    for revision in (ROOT / "alembic" / "versions").glob("*.py"):
        assert f"reconciler/schema/revisions/versions/{revision.name}" in names
    assert not [name for name in names if name.endswith((".pyc", ".env"))]


def test_the_tests_of_a_project_pass_at_once(project: Project) -> None:
    assert "3 passed" in project.run("python", "-P", "-m", "pytest", "-q")


def test_a_project_works_at_once_and_packages_of_our_names_are_not_taken_for_ours(
    among_strangers: Project, empty: str
) -> None:
    project = among_strangers
    with (project.folder / ".env").open("a") as settings:
        settings.write(f"DATABASE_URL={empty}\nTRACER_WORKER_PROCESSES=1\n")
    assert project.tracer("--version").startswith("tracer ")
    assert "Step headcount registered" in project.tracer("db", "upgrade")
    with project.running("workers") as said:
        project.tracer("seed", "companies.csv", "--blueprint", "normalize,headcount")
        wait_until(lambda: accepts(workers_socket(project.folder / ".tracer")))
        project.tracer("reconcile", "--until-done")
        assert ",120\n" in project.tracer("export", "companies", "--format", "csv")
    assert "1 worker processes" in said.read_text()


def test_a_package_of_our_name_that_python_finds_first_is_named(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "other" / "cli").mkdir(parents=True)
    (tmp_path / "other" / "cli" / "__init__.py").touch()
    project.environment["PYTHONPATH"] = str(tmp_path / "other")
    said = project.tracer("--version", code=2)
    assert said == f"Take {tmp_path}/other out of PYTHONPATH: its `cli` hides Tracer's own.\n"


@pytest.mark.proof
@pytest.mark.timeout(240)
def test_modal_works_the_steps_of_the_folder(
    among_strangers: Project, world: World, url: str
) -> None:
    project = among_strangers
    (project.folder / "enrich" / "prompt.txt").write_text("How many?")
    with serve(Containers(limit=1)) as plane, use(plane):
        modal(plane, "secret", "create", "tracer-database", f"DATABASE_URL={url}")
        project.environment |= plane.environment() | {"DATABASE_URL": url}
        project.tracer("steps", "sync")
        project.tracer("modal", "deploy")
        app = plane.apps["tracer"]
        assert "headcount" in app.functions
        sent = {str(p) for p, _ in plane.uploads.files(app.functions["normalize"].definition)}
        assert {"workers/app.py", "enrich/steps/headcount.py", "enrich/prompt.txt"} <= sent
        world.seed(3, ["headcount"])
        deadline = time.monotonic() + 60
        with until_answered(world.store, ModalSpawner()) as spawner:
            while world.operator.batch("batch").status != "FINISHED":
                assert time.monotonic() < deadline, world.statuses()
                tick(world.store, spawner, world.store.now())
                time.sleep(0.1)
    assert world.statuses() == {"COMPLETED": 3}


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_the_stack_runs_from_the_wheel_and_is_deployed_again(
    among_strangers: Project, empty: str
) -> None:
    """Server, worker, flow runs and our own workers; it takes a minute."""
    project = among_strangers
    project.environment["DATABASE_URL"] = empty
    with project.running("up") as said:
        wait_until(lambda: "Ctrl-C stops everything" in said.read_text(), 200)
        project.tracer("seed", "companies.csv", "--blueprint", "normalize,headcount")
        wait_until(lambda: '"FINISHED"' in project.tracer("batches", "--json"), 60)
        assert "reconcile/tracer" in project.tracer("prefect", "deploy")
        # Prefect's own command looks in the working directory first, for `reconciler`.
        shutil.rmtree(project.folder / "reconciler")
        at = said.read_text().partition("Prefect's UI: ")[2].split()[0]
        project.environment["PREFECT_API_URL"] = f"{at}/api"
        deploy = ("-m", "prefect", "--no-prompt", "deploy", "--all")
        assert "reconcile/tracer" in project.run("python", "-P", *deploy)
    assert "Stopping" in said.read_text()
