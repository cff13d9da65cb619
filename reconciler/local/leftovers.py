"""Ends what an earlier stack has left running, and removes its files."""

import os
import shutil
from pathlib import Path

from reconciler.contract.settings import workers_socket
from reconciler.local.lifeline import end_all
from reconciler.local.stack_file import load_stack, stack_path
from reconciler.local.worker_host import accepts

OWNER_S = 30.0  # in which the owner of a stack ends its services, beside the grace period
WRITE_S = 7.0  # after its grace period, a worker host writes what became of the rest, and ends


def stop_leftovers(home: Path, grace_s: float) -> list[str]:
    """End all programs of the stack of `home` that still run; returns the services' names.

    `grace_s` is what its worker host gives to calls that are under way.

    `stack.json` names them. A process is ended only if it started at the time noted there. An owner
    that runs is ended first, and has time to stop the services in order.
    """
    stack = load_stack(home.resolve())
    if not stack:
        return []
    found = [one for one in (stack.owner, *stack.services) if one.alive]
    if stack.owner.alive and stack.owner.pid != os.getpid():
        end_all({stack.owner.pid}, OWNER_S + grace_s)
    end_all({one.pid for one in stack.services if one.alive}, grace_s + WRITE_S + 2)
    clear(home.resolve())
    return sorted({one.name for one in found} - {"owner"})


def clear(home: Path) -> None:
    """Remove the files of a stack that has ended. Prefect writes each run's environment, with
    DATABASE_URL, to a file, and removes it only when the run ends normally. A worker host that was
    killed leaves its socket's directory."""
    shutil.rmtree(home / "tmp", ignore_errors=True)
    if not accepts(workers_socket(home)):
        shutil.rmtree(workers_socket(home).parent, ignore_errors=True)
    stack_path(home).unlink(missing_ok=True)
