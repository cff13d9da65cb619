"""`stack.json`: what runs of a local stack, written so that a stranger can check it."""

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
    """One program of the stack; `birth` tells it from a later one that was given the same pid."""

    name: str
    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether this very program still runs."""
        return birth(self.pid) == self.birth


@dataclass(frozen=True)
class StackFile:
    """A stack that was started: its server's address, its owner and its services."""

    api_url: str
    owner: Running
    services: list[Running]


def birth(pid: int) -> str | None:
    """When `pid` started, in this machine's own words; None where it does not run."""
    if Path("/proc/self/stat").exists():
        stat = read_stat(pid)
        return stat[19] if stat and stat[0] not in "ZX" else None
    listing = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return listing[1].strip() if len(listing) == 2 and listing[0][0] != "Z" else None


def running(name: str, pids: Iterable[int]) -> list[Running]:
    """The given programs, less those that are gone."""
    found = ((pid, birth(pid)) for pid in sorted(pids))
    return [Running(name, pid, born) for pid, born in found if born]


def stack_path(home: Path) -> Path:
    """Where the stack of `home` is written down."""
    return home / "stack.json"


def write_stack(home: Path, stack: StackFile) -> None:
    """Write it whole or not at all."""
    fresh = stack_path(home).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(stack), indent=1))
    fresh.replace(stack_path(home))


def load_stack(home: Path) -> StackFile | None:
    """What was written down, be it running or not; None where there is nothing to be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(stack_path(home).read_text())
        services = [Running(**service) for service in found["services"]]
        return StackFile(found["api_url"], Running(**found["owner"]), services)
    return None


def read_stack(home: Path) -> StackFile | None:
    """The stack of `home` whose server runs, if there is one."""
    stack = load_stack(home)
    servers = [s for s in stack.services if s.name == "prefect-server"] if stack else []
    return stack if any(server.alive for server in servers) else None
