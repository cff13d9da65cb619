"""One program of the local stack, on a lifeline: it ends when the program that started it ends."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from reconciler.contract.errors import Unreachable, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.local import lifeline
from reconciler.local.lifeline import GRACE_S, end_all, family, parents, send
from reconciler.local.python import child_environment
from reconciler.local.stack_file import Running, running

HOST, PORT = "127.0.0.1", 4200  # where Prefect's server listens, if the port is free
LAST_LINES = 15
PROXIES = ("all_proxy", "http_proxy", "https_proxy")


class Service:
    """A started program; its output goes to the log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        logs: Path,
        cwd: Path | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.name = name
        self._grace_s = grace_s  # between SIGTERM and SIGKILL
        self.log = logs / f"{name}.log"
        with self.log.open("wb") as log:
            # A new session: Ctrl-C reaches only the owner, which ends the services in order.
            self._lifeline = subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__, str(grace_s), "--", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._lifeline.poll() is None

    def programs(self) -> list[Running]:
        """The lifeline and all its descendants that run now."""
        return running(self.name, family(self._lifeline.pid))

    def wait_ready(self, ready: Callable[[], bool], within_s: float) -> None:
        """Wait until `ready()` is true.

        Raises:
            WorkFailed: the program ended, or was not ready within `within_s` seconds.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            if not self.alive:
                raise self.failure(f"ended with code {self._lifeline.returncode}")
            if time.monotonic() > deadline:
                raise self.failure(f"is not ready after {within_s:g} s")
            time.sleep(0.05)

    def wait_done(self, within_s: float) -> None:
        """Wait until the program ends with code 0.

        Raises:
            WorkFailed: it ended with another code, or did not end within `within_s` seconds.
        """
        try:
            code = self._lifeline.wait(within_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"has not ended after {within_s:g} s") from None
        if code:
            raise self.failure(f"ended with code {code}")

    def end_children(self, within_s: float) -> None:
        """End the program's children, and wait at most `within_s`; the program keeps running."""
        lifeline = self._lifeline.pid
        command = {pid for pid, parent in parents().items() if parent == lifeline}
        end_all({pid for pid, parent in parents().items() if parent in command}, within_s)

    def request_stop(self) -> None:
        """Tell the program to end; `stop` waits for it."""
        if self._lifeline.stdin:
            self._lifeline.stdin.close()

    def stop(self) -> None:
        """End the program and all its descendants, and wait for their end."""
        self.request_stop()
        try:
            self._lifeline.wait(self._grace_s + 5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program and all its descendants with SIGKILL."""
        send(family(self._lifeline.pid), signal.SIGKILL)
        self._lifeline.wait()

    def failure(self, what: str) -> WorkFailed:
        """An error: `what` happened to the program, and the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        last = "\n".join(f"  {line}" for line in lines) or "  (it is empty)"
        return WorkFailed(f"The {self.name} {what}. See {self.log}, which ends with:\n{last}")


def environment(settings: Settings, database_url: str) -> dict[str, str]:
    """The environment of the stack's programs, without PREFECT_API_URL.

    It has none of the user's Prefect settings: a profile or a key for another server is neither
    used nor changed.
    """
    given, home = child_environment(settings, database_url), settings.home.resolve()
    kept = {name: value for name, value in given.items() if not name.startswith("PREFECT_")}
    direct = ",".join(filter(None, [kept.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    return kept | {
        "PREFECT_HOME": str(home / "prefect"),
        # Prefect's worker keeps files in TMPDIR/runner_storage. In /tmp, the directory would belong
        # to the first user of the machine, and other users could not use it.
        "TMPDIR": str(home / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # With leases in memory, runs of a stopped server would keep their slots without end.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # Every 20 s this service works on each run that was cancelled in the last day: it took 65 %
        # of a core.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
        # Without this, runs are never deleted.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "604800",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
        # Runs start 0.2 s late instead of 2.6 s.
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


def for_prefect(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of Prefect's programs: without proxies that its client cannot speak to.

    One such proxy would end it at its start, though Prefect's server is on this machine.
    """
    spoken = {"http", "https"} | ({"socks5", "socks5h"} if find_spec("socksio") else set())
    schemes = {
        name: value.partition("://")[0].lower()
        for name, value in environment.items()
        if name.lower() in PROXIES and "://" in value
    }
    return {name: v for name, v in environment.items() if schemes.get(name, "http") in spoken}


def free_port(wanted: Sequence[int] = (PORT, 0)) -> int:
    """The first port of `wanted` that is free; 0 means any port."""
    for port in wanted:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError:
                continue
            found: int = trial.getsockname()[1]
            return found
    raise Unreachable(f"No port is free on {HOST}: end some programs that listen there.")
