"""The local stack of `tracer demo` and `tracer up`: a Prefect server, its worker, our workers."""

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.contract.errors import BadInput, Unreachable, WorkFailed
from reconciler.contract.settings import Settings, load_settings, workers_socket
from reconciler.local.lifeline import GRACE_S, end_all
from reconciler.local.postgres.supervisor import acquire
from reconciler.local.python import PYTHON
from reconciler.local.service import Service, environment
from reconciler.local.stack_file import StackFile, load_stack, running, stack_path, write_stack
from reconciler.local.worker_host import accepts
from reconciler.prefect.api import local_server, open_api
from reconciler.prefect.runs import clear_dead
from reconciler.prefect.schedule import POOL, ask_for_run, read

HOST, PORT = "127.0.0.1", 4200
PREFECT = (*PYTHON, "-m", "prefect")
RUN_S = 10.0  # what a run gets to leave between two ticks and report it
OWNER_S = 30.0  # what the owner of a stack gets to end its services in order


BUNDLED = "workers.steps"


class Stack:
    """The services of one home; leaving the context stops those that were started."""

    def __init__(self) -> None:
        self.api_url = self.ui_url = ""
        self._home = Path()
        self._services: dict[str, Service] = {}
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, settings: Settings, database_url: str, on_step: Callable[[str], None]) -> str:
        """Start all, deploy, and ask for a first run at once; returns that flow run's id.

        `on_step` gets a line when a part is up. Everything keeps running until `stop`, or until
        this program ends in whatever way.

        Raises:
            BadInput: a stack of this home is running already.
            WorkFailed: a part does not come up; the message has the end of its log.
        """
        self._prepare(settings, database_url)
        host = settings.workers == "local"
        if host:
            self._launch("worker-host", *PYTHON, "-m", "workers.host", cwd=Path.cwd())
        if not self._start_server(free_port()):
            self._start_server(free_port((0,)))
        on_step(f"Prefect server at {self.ui_url}")
        self._clear_dead()
        self._launch(
            "prefect-worker", *PREFECT, *f"worker start --pool {POOL} --type process".split()
        )
        self._await("prefect-worker", self._has_pool, 60)
        run_id = self._deploy()
        on_step("Deployment reconcile/tracer and its schedule")
        self._await("prefect-worker", self._takes_runs, 60)
        on_step("Prefect worker")
        if host:
            calls = workers_socket(self._home)
            self._await("worker-host", lambda: accepts(calls), 60)
            on_step("Worker host")
        return run_id

    def stop(self) -> None:
        """End every service, runs first and the server last, so that a run can report its end."""
        if worker := self._services.get("prefect-worker"):
            worker.end_children(RUN_S)
        for service in self._services.values():
            if service.name != "prefect-server":
                service.let_go()
        for service in reversed(self._services.values()):
            service.stop()
        if self._services:
            clear(self._home)
        self._services = {}

    def check(self) -> list[str]:
        """The names of the services that have ended by themselves."""
        return [name for name, service in self._services.items() if not service.alive]

    def tend(self, settings: Settings) -> None:
        """See that all is there: a Postgres that died is started again (1 ms when it lives).

        Raises:
            WorkFailed: a service has ended by itself.
        """
        if not settings.database_url:
            acquire(settings.home)
        if died := self.check():
            raise self.failure(died[0])

    def failure(self, name: str) -> WorkFailed:
        """Why the service of that name has ended by itself, as far as its log tells."""
        return self._services[name].failure("ended by itself, and all else was stopped")

    def _prepare(self, settings: Settings, database_url: str) -> None:
        home = settings.home.resolve()
        found = load_stack(home)
        if found and found.owner.alive:
            raise BadInput(
                f"A stack of {home} is running already, started by process {found.owner.pid}. "
                "Use it, or end it.",
                "tracer down",
            )
        stop_leftovers(home)
        for name in ("logs", "tmp"):
            (home / name).mkdir(parents=True, exist_ok=True)
        self._home = home
        self._environment = environment(settings, database_url)

    def _start_server(self, port: int) -> bool:
        """Start Prefect's server; False where another program took the port in the 20 s that it
        needs to begin: that one's deployments and runs are not ours."""
        self.ui_url = f"http://{HOST}:{port}"
        self.api_url = self._environment["PREFECT_API_URL"] = f"{self.ui_url}/api"
        where = f"--host {HOST} --port {port}".split()
        self._launch("prefect-server", *PREFECT, "server", "start", *where)
        self._await("prefect-server", self._server_answers, 120)
        with open_api(local_server(self.api_url)) as api:
            if Path(api.call("GET", "admin/settings")["home"]) == self._home / "prefect":
                return True
        self._services.pop("prefect-server").stop()
        return False

    def _launch(self, name: str, *command: str, cwd: Path | None = None) -> None:
        self._services[name] = self._service(name, command, cwd)
        self._write_down()

    def _service(self, name: str, command: Sequence[str], cwd: Path | None = None) -> Service:
        """Prefect's programs run in the home: they read settings from where they are."""
        logs = self._home / "logs"
        return Service(name, command, self._environment, logs, cwd or self._home)

    def _await(self, name: str, ready: Callable[[], bool], within_s: float) -> None:
        self._services[name].wait_ready(ready, within_s)
        self._write_down()

    def _write_down(self) -> None:
        owner = running("owner", {os.getpid()})[0]
        programs = [one for service in self._services.values() for one in service.programs()]
        write_stack(self._home, StackFile(self.api_url, owner, programs))

    def _deploy(self) -> str:
        deploy = self._service("prefect-deploy", (*PYTHON, "-m", "reconciler.prefect.deploy"))
        try:
            deploy.wait_done(90)
        finally:
            deploy.stop()
        with open_api(local_server(self.api_url)) as api:
            return ask_for_run(api)

    def _clear_dead(self) -> None:
        with open_api(local_server(self.api_url)) as api:
            clear_dead(api)

    def _server_answers(self) -> bool:
        try:
            with open_api(local_server(self.api_url)) as api:
                return api.call("GET", "health") is True
        except Unreachable:
            return False

    def _has_pool(self) -> bool:
        with open_api(local_server(self.api_url)) as api:
            return read(api).pool_online is not None

    def _takes_runs(self) -> bool:
        with open_api(local_server(self.api_url)) as api:
            return read(api).pool_online is True


def stack_settings(all_here: bool) -> Settings:
    """The settings, for a stack whose workers are here, or may be Modal's.

    Raises:
        BadInput: TRACER_WORKERS asks for Modal's where they must be here, or have no database.
    """
    settings = load_settings()
    if settings.workers == "modal" and all_here:
        raise BadInput("This runs everything here: unset TRACER_WORKERS, or set it to local.")
    if all_here and BUNDLED not in settings.steps:  # those of the demo's blueprint
        settings = settings.model_copy(update={"steps": (*settings.steps, BUNDLED)})
    if settings.workers == "modal" and not settings.database_url:
        raise BadInput(
            "Modal's containers cannot reach a Postgres that is started here: set DATABASE_URL to "
            "one that they can, or TRACER_WORKERS to local."
        )
    return settings


def stop_leftovers(home: Path) -> list[str]:
    """End whatever still runs of the stack of `home`; returns the names of what did.

    Goes by what the stack wrote down, and touches a process only when it started at the moment
    written there. An owner that lives is asked first, and given time to stop in order.
    """
    stack = load_stack(home.resolve())
    if not stack:
        return []
    found = [one for one in (stack.owner, *stack.services) if one.alive]
    if stack.owner.alive and stack.owner.pid != os.getpid():
        end_all({stack.owner.pid}, OWNER_S)
    end_all({one.pid for one in stack.services if one.alive}, GRACE_S + 2)
    clear(home.resolve())
    return sorted({one.name for one in found} - {"owner"})


def clear(home: Path) -> None:
    """Take away what a stack that has ended leaves: Prefect writes the environment of each run,
    DATABASE_URL and all, into a file that it removes only when the run ends in order. A worker host
    that was killed leaves the directory of its socket."""
    shutil.rmtree(home / "tmp", ignore_errors=True)
    if not accepts(workers_socket(home)):
        shutil.rmtree(workers_socket(home).parent, ignore_errors=True)
    stack_path(home).unlink(missing_ok=True)


def free_port(wanted: Sequence[int] = (PORT, 0)) -> int:
    """The first port of `wanted` that is free; 0 stands for any."""
    for port in wanted:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
            found: int = trial.getsockname()[1]
            return found
    raise Unreachable(f"No port is free on {HOST}: end some programs that listen.")
