"""The local stack of `tracer demo` and `tracer up`: Prefect's server and worker, a worker host."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from reconciler.contract.errors import BadInput, Unreachable, WorkFailed
from reconciler.contract.settings import Settings, load_settings, workers_socket
from reconciler.local.leftovers import WRITE_S, clear, stop_leftovers
from reconciler.local.lifeline import GRACE_S
from reconciler.local.postgres.install import make_home
from reconciler.local.postgres.supervisor import acquire
from reconciler.local.python import PYTHON
from reconciler.local.service import HOST, Service, environment, for_prefect, free_port
from reconciler.local.stack_file import StackFile, load_stack, running, write_stack
from reconciler.local.worker_host import accepts
from reconciler.prefect.api import Api, local_server, open_api
from reconciler.prefect.runs import clear_dead
from reconciler.prefect.schedule import ask_for_run, read
from reconciler.prefect.work_pool import POOL

PREFECT = (*PYTHON, "-m", "prefect")
# Its own server is alive, or its end is noticed: on a busy machine an answer takes more than 10 s.
OWN_SERVER = httpx.Timeout(60, connect=10)
RUN_S = 10.0  # how long a flow run may take to leave between two ticks, and report its end


class Stack:
    """The services of one home; the end of the context stops those that it started."""

    def __init__(self) -> None:
        self.api_url = self.ui_url = ""
        self._home = Path()
        self._services: dict[str, Service] = {}
        self._starting = True
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

    def start(self, settings: Settings, database_url: str, on_ready: Callable[[str], None]) -> str:
        """Start all services, deploy, and start a first flow run; returns the flow run's id.

        `on_ready` gets a line when a service is ready. The services run until `stop`, or until this
        program ends in any way.

        Raises:
            BadInput: a stack of this home is already running.
            WorkFailed: a service does not start; the message has the end of its log.
        """
        self._prepare(settings, database_url)
        host = settings.workers == "local"
        if host:
            command = (*PYTHON, "-m", "workers.host")
            grace_s = settings.grace_s + WRITE_S
            self._launch("worker-host", *command, cwd=Path.cwd(), grace_s=grace_s)
        if not self._start_server(free_port()):
            self._start_server(free_port((0,)))
        on_ready(f"Prefect server at {self.ui_url}")
        self._clear_dead()
        self._launch(
            "prefect-worker", *PREFECT, *f"worker start --pool {POOL} --type process".split()
        )
        self._await("prefect-worker", self._has_pool, 60)
        run_id = self._deploy()
        on_ready("Deployment reconcile/tracer and its schedule")
        self._await("prefect-worker", self._takes_runs, 60)
        on_ready("Prefect worker")
        if host:
            path = workers_socket(self._home)
            self._await("worker-host", lambda: accepts(path), 60)
            on_ready("Worker host")
        self._starting = False
        self._write_file()
        return run_id

    def stop(self) -> None:
        """End every service: flow runs first and the server last, so that runs report their end."""
        if worker := self._services.get("prefect-worker"):
            worker.end_children(RUN_S)
        for service in self._services.values():
            if service.name != "prefect-server":
                service.request_stop()
        for service in reversed(self._services.values()):
            service.stop()
        if self._services:
            clear(self._home)
        self._services = {}

    def ended_services(self) -> list[str]:
        """The names of the services that have ended unexpectedly."""
        return [name for name, service in self._services.items() if not service.alive]

    def keep_up(self, settings: Settings) -> None:
        """Check all services; start a Postgres that died again (1 ms if it runs).

        Raises:
            WorkFailed: a service has ended unexpectedly.
        """
        if not settings.database_url:
            acquire(settings.home)
        if ended := self.ended_services():
            raise self.failure(ended[0])

    def failure(self, name: str) -> WorkFailed:
        """An error: the service has ended unexpectedly, with the end of its log."""
        return self._services[name].failure("ended unexpectedly; the other services were stopped")

    def _prepare(self, settings: Settings, database_url: str) -> None:
        home = settings.home.resolve()
        found = load_stack(home)
        if found and found.owner.alive:
            raise BadInput(
                f"A stack of {home} is already running (pid {found.owner.pid}). Use it or stop it.",
                "tracer down",
            )
        stop_leftovers(home, settings.grace_s)
        make_home(home)
        for name in ("logs", "tmp"):
            (home / name).mkdir(exist_ok=True)
            (home / name).chmod(0o700)
        self._home = home
        self._environment = environment(settings, database_url)

    def _start_server(self, port: int) -> bool:
        """Start Prefect's server; False if another server took the port first.

        The server needs 20 s to start. Another server's deployments and runs are not this stack's.
        """
        self.ui_url = f"http://{HOST}:{port}"
        self.api_url = self._environment["PREFECT_API_URL"] = f"{self.ui_url}/api"
        where = f"--host {HOST} --port {port}".split()
        self._launch("prefect-server", *PREFECT, "server", "start", *where)
        self._await("prefect-server", self._server_answers, 120)
        with self._api() as api:
            if Path(api.call("GET", "admin/settings")["home"]) == self._home / "prefect":
                return True
        self._services.pop("prefect-server").stop()
        return False

    def _launch(
        self, name: str, *command: str, cwd: Path | None = None, grace_s: float = GRACE_S
    ) -> None:
        self._services[name] = self._service(name, command, cwd, grace_s)
        self._write_file()

    def _service(
        self,
        name: str,
        command: Sequence[str],
        cwd: Path | None = None,
        grace_s: float = GRACE_S,
    ) -> Service:
        """Prefect's programs run in the home, because they read settings from their directory."""
        logs = self._home / "logs"
        prefect = name.startswith("prefect-")
        given = for_prefect(self._environment) if prefect else self._environment
        return Service(name, command, given, logs, cwd or self._home, grace_s)

    def _await(self, name: str, ready: Callable[[], bool], within_s: float) -> None:
        self._services[name].wait_ready(ready, within_s)
        self._write_file()

    def _write_file(self) -> None:
        owner = running("owner", {os.getpid()})[0]
        programs = [one for service in self._services.values() for one in service.programs()]
        write_stack(self._home, StackFile(self.api_url, owner, programs, self._starting))

    def _deploy(self) -> str:
        deploy = self._service("prefect-deploy", (*PYTHON, "-m", "reconciler.prefect.deploy"))
        try:
            deploy.wait_done(90)
        finally:
            deploy.stop()
        with self._api() as api:
            return ask_for_run(api)

    def _api(self) -> AbstractContextManager[Api]:
        return open_api(local_server(self.api_url), OWN_SERVER)

    def _clear_dead(self) -> None:
        with self._api() as api:
            clear_dead(api)

    def _server_answers(self) -> bool:
        try:
            with self._api() as api:
                return api.call("GET", "health") is True
        except Unreachable:
            return False

    def _has_pool(self) -> bool:
        with self._api() as api:
            return read(api).pool_online is not None

    def _takes_runs(self) -> bool:
        with self._api() as api:
            return read(api).pool_online is True


def stack_settings(all_here: bool) -> Settings:
    """The settings of a stack; with `all_here`, of one that runs everything on this machine.

    Raises:
        BadInput: TRACER_WORKERS is modal, and everything must run here or there is no database.
    """
    settings = load_settings()
    if settings.workers == "modal" and all_here:
        raise BadInput(
            "The demo runs on this machine alone: unset TRACER_WORKERS, or set it to local."
        )
    if settings.workers == "modal" and not settings.database_url:
        raise BadInput(
            "Modal's containers cannot reach the embedded Postgres. Set DATABASE_URL to a Postgres "
            "that they can reach, or TRACER_WORKERS to local."
        )
    return settings
