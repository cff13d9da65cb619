"""`stack.json`: the programs of a local stack, so that other commands can find and verify them."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from reconciler.local.lifeline import read_stat


@dataclass(frozen=True)
class Running:
    """One program of the stack. `birth` is its start time, because pids are used again."""

    name: str
    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether this program still runs, and not another one with its pid."""
        return start_time(self.pid) == self.birth


@dataclass(frozen=True)
class StackFile:
    """A stack that was started: its server's URL, its owner and its services.

    `starting`: not all of its services are ready yet.
    """

    api_url: str
    owner: Running
    services: list[Running]
    starting: bool = False


def start_time(pid: int) -> str | None:
    """When `pid` started, in the operating system's format; None if it does not run."""
    if Path("/proc/self/stat").exists():
        stat = read_stat(pid)
        return stat[19] if stat and stat[0] not in "ZX" else None
    listing = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return listing[1].strip() if len(listing) == 2 and listing[0][0] != "Z" else None


def running(name: str, pids: Iterable[int]) -> list[Running]:
    """Those of the processes that still run; all get `name`."""
    found = ((pid, start_time(pid)) for pid in sorted(pids))
    return [Running(name, pid, started) for pid, started in found if started]


def stack_path(home: Path) -> Path:
    """The file `stack.json` of `home`."""
    return home / "stack.json"


def write_stack(home: Path, stack: StackFile) -> None:
    """Write the file, whole or not at all."""
    fresh = stack_path(home).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(stack), indent=1))
    fresh.replace(stack_path(home))


def load_stack(home: Path) -> StackFile | None:
    """The stack in the file, running or not; None if there is no readable file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(stack_path(home).read_text())
        services = [Running(**service) for service in found["services"]]
        owner, starting = Running(**found["owner"]), found.get("starting", False)
        return StackFile(found["api_url"], owner, services, starting)
    return None


def read_stack(home: Path) -> StackFile | None:
    """The stack of `home` if its server runs, else None."""
    stack = load_stack(home)
    servers = [s for s in stack.services if s.name == "prefect-server"] if stack else []
    return stack if any(server.alive for server in servers) else None
