"""The local worker host: ask for its status and steps, or start one for a command."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

from reconciler.contract.errors import WorkFailed
from reconciler.contract.own_socket import Stranger, connect_own, peer_pid
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.python import PYTHON, child_environment
from reconciler.local.stack_file import load_stack

HOST = "tracer workers"
RESTART = "tracer down && tracer up"
ANSWER_S = 2.0
READY_S = 30.0
# A host that was somebody else's may come back, as after `tracer down && tracer up`.
OTHERS_S = 30.0
# A host that ends so soon, so often, would end again.
SHORT_LIFE_S, SHORT_LIVES = 60.0, 3


class HostFault(StrEnum):
    """Why a worker host does not report its steps."""

    NOT_RUNNING = auto()
    SILENT = auto()
    OUTDATED = auto()  # it runs another version of Tracer
    STRANGER = auto()  # it is another user's, or its directory is


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
    """Whether a program of this user listens on the Unix socket `path`."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            connect_own(caller, path)
        except OSError:
            return False
    return True


def ask_host(settings: Settings) -> HostStatus:
    """The status of this home's host; waits for `ANSWER_S` seconds at most."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(ANSWER_S)
        try:
            connect_own(link, workers_socket(settings.home))
        except Stranger:
            return HostStatus(fault=HostFault.STRANGER)
        except (BlockingIOError, TimeoutError):  # it accepts no connection, and its queue is full
            return HostStatus(fault=HostFault.SILENT)
        except OSError:
            return HostStatus(fault=HostFault.NOT_RUNNING)
        pid = peer_pid(link)
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
    if host.fault == HostFault.STRANGER:
        as_root = "" if os.geteuid() == 0 else "sudo "
        return f"{as_root}rm -rf {workers_socket(settings.home).parent} && {start}"
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


class HostKeeper:
    """Starts a worker host of its own where none listens, and another when that one has ended."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._socket = workers_socket(settings.home)
        self._environment = child_environment(settings, database_url)
        self._host: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._short_lives = 0
        self._missed: float | None = None  # since when somebody else's host does not listen

    def start(self) -> None:
        """Start a host.

        Raises:
            WorkFailed: it does not start; its output is on stderr.
        """
        command = [*PYTHON, "-m", "workers.host", "--until-eof"]
        self._started = time.monotonic()
        self._host = subprocess.Popen(command, stdin=subprocess.PIPE, env=self._environment)
        ended = False
        while not accepts(self._socket):
            if ended or time.monotonic() > self._started + READY_S:
                self._host.kill()
                raise WorkFailed("The worker host did not start; its output is above.")
            time.sleep(0.05)
            ended = self._host.poll() is not None  # maybe since another listens: look once more

    def restart(self) -> None:
        """No host listens: start one anew, unless somebody else's host may yet come back.

        Raises:
            WorkFailed: it does not start, or has ended too often; its output is on stderr.
        """
        now = time.monotonic()
        if self._host is None:
            self._missed = self._missed or now
            if now - self._missed < OTHERS_S:
                return
        else:
            self._short_lives = self._short_lives + 1 if now - self._started < SHORT_LIFE_S else 0
            if self._short_lives == SHORT_LIVES:
                says = f"The worker host ended {SHORT_LIVES} times soon after its start"
                raise WorkFailed(f"{says}; its output is above.")
            self.close()
        sys.stderr.write("No worker host listens any more: starting one.\n")
        self.start()

    def close(self) -> None:
        """Have the host that was started end after its last call, and wait for that."""
        if self._host and self._host.stdin:
            self._host.stdin.close()
            self._host.wait()


@contextmanager
def running_host(settings: Settings, database_url: str) -> Iterator[Callable[[], None]]:
    """Use the worker host that runs, or start one for this block; it ends after its last call.

    The block gets what to call when no host listens any more.

    Raises:
        WorkFailed: the host does not start; its output is on stderr.
    """
    keeper = HostKeeper(settings, database_url)
    try:
        if settings.workers == "local" and not accepts(workers_socket(settings.home)):
            keeper.start()
        yield keeper.restart
    finally:
        keeper.close()
