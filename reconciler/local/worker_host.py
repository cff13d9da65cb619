"""The local worker host: ask for its status and steps, or start one for a command."""

import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.python import PYTHON, child_environment
from reconciler.local.stack_file import load_stack

HOST = "tracer workers"
RESTART = "tracer down && tracer up"
ANSWER_S = 2.0
READY_S = 30.0


class HostFault(StrEnum):
    """Why a worker host does not report its steps."""

    NOT_RUNNING = auto()
    SILENT = auto()
    OUTDATED = auto()  # it runs another version of Tracer


@dataclass(frozen=True)
class HostStatus:
    """A worker host. If it does not answer, `fault` is the reason, and it has no steps.

    `room`: how many companies of each step it takes now. `up_s`: seconds since its start. `pid` is
    None if the operating system does not report it.
    """

    steps: frozenset[str] = frozenset()
    room: Mapping[str, int] = field(default_factory=dict)
    up_s: float | None = None
    fault: HostFault | None = None
    pid: int | None = None


def accepts(path: Path) -> bool:
    """Whether a program listens on the Unix socket `path`."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(path))
        except OSError:
            return False
    return True


def ask_host(settings: Settings) -> HostStatus:
    """The status of this home's host; waits for `ANSWER_S` seconds at most."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ANSWER_S)
        try:
            link.connect(str(workers_socket(settings.home)))
        except (BlockingIOError, TimeoutError):  # it accepts no connection, and its queue is full
            return HostStatus(fault=HostFault.SILENT)
        except OSError:
            return HostStatus(fault=HostFault.NOT_RUNNING)
        pid = _pid(link)
        try:
            found = _ask(link)
            return HostStatus(
                frozenset(found["room"]), found["room"], float(found["up_s"]), pid=pid
            )
        except KeyError:
            return HostStatus(fault=HostFault.OUTDATED, pid=pid)
        except (OSError, ValueError):
            return HostStatus(fault=HostFault.SILENT, pid=pid)


def host_fix(settings: Settings, host: HostStatus) -> str:
    """The command that starts a host with all steps, and ends a faulty one first."""
    start = HOST if settings.database_url else "tracer up"
    if host.fault == HostFault.NOT_RUNNING:
        return start
    stack = load_stack(settings.home.resolve())
    if stack and stack.owner.alive:
        return RESTART
    by_force = "-9 " if host.fault == HostFault.SILENT else ""
    return f"kill {by_force}{host.pid} && {start}" if host.pid else start


def _ask(link: socket.socket) -> dict[str, Any]:
    link.sendall(json.dumps({"room": True}).encode() + b"\n")
    with link.makefile() as answers:
        found: dict[str, Any] = json.loads(answers.readline())
    return found


def _pid(link: socket.socket) -> int | None:
    """The pid of the listening process; None if the operating system does not report it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


@contextmanager
def running_host(settings: Settings, database_url: str) -> Iterator[None]:
    """Use the worker host that runs, or start one for this block; it ends after its last call.

    Raises:
        WorkFailed: the host does not start; its output is on stderr.
    """
    if settings.workers != "local" or accepts(workers_socket(settings.home)):
        yield
        return
    command = [*PYTHON, "-m", "workers.host", "--until-eof"]
    environment = child_environment(settings, database_url)
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as host:
        try:
            _wait_ready(host, settings)
            yield
        finally:
            if host.stdin:
                host.stdin.close()
            host.wait()


def _wait_ready(host: "subprocess.Popen[bytes]", settings: Settings) -> None:
    deadline = time.monotonic() + READY_S
    while not accepts(workers_socket(settings.home)):
        if host.poll() is not None or time.monotonic() > deadline:
            host.kill()
            raise WorkFailed("The worker host did not start; its output is above.")
        time.sleep(0.05)
