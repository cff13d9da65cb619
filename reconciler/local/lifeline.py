"""Runs a command that must not outlive its owner.

Usage: `python -m reconciler.local.lifeline -- COMMAND…`.

The owner holds the other end of this program's standard input. When that end closes, because the
owner let go or died in any way (SIGKILL too), or on SIGTERM, SIGINT or SIGHUP, the command and all
that it started get SIGTERM, then SIGKILL after `GRACE_S`. Exits with the command's code, or with
128 plus the signal that ended it. Only the standard library is imported, so that it starts at once.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 5.0
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def read_stat(pid: int) -> list[str] | None:
    """Linux's words on `pid` from its state on (proc(5), field 3); None where it does not run."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return None


def parents() -> dict[int, int]:
    """Every running process of this machine and its parent; zombies are not running."""
    if Path("/proc/self/stat").exists():
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        stats = [(pid, read_stat(pid)) for pid in pids]
        return {pid: int(stat[1]) for pid, stat in stats if stat and stat[0] not in "ZX"}
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {int(pid): int(ppid) for pid, ppid, state in rows if not state.startswith("Z")}


def family(root: int) -> set[int]:
    """`root` and all that descends from it, whatever group or session it moved to."""
    running = parents()
    found = {root} & running.keys()
    generation = found
    while generation:
        generation = {pid for pid, parent in running.items() if parent in generation} - found
        found |= generation
    return found


def send(pids: set[int], number: signal.Signals) -> None:
    """Signal each; who is gone already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(roots: set[int], grace_s: float) -> None:
    """End these and their families: SIGTERM, then SIGKILL for who is left after `grace_s`."""
    # A flow run leads a session of its own, so the family is taken by parentage and not by group,
    # and before anyone is told to go: who loses its parent would be out of sight.
    doomed = {pid for root in roots for pid in family(root)}
    send(doomed, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while doomed & parents().keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    send(doomed & parents().keys(), signal.SIGKILL)


def end(command: "subprocess.Popen[bytes]") -> int:
    """End the command and its family; returns its exit code."""
    end_all({command.pid}, GRACE_S)
    # A command that ended by itself left no family to see, but it may have left its group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(command.pid, signal.SIGKILL)
    return command.wait()


def run(arguments: list[str]) -> int:
    """Run the command until it ends or must end."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while command.poll() is None and not _must_end(selector, wake):
            pass
    code = end(command)
    return code if code >= 0 else 128 - code


def _must_end(selector: selectors.BaseSelector, wake: int) -> bool:
    """Wait for a word from the owner or a signal; whether it says to end."""
    ready = {key.fd for key, _ in selector.select()}
    if wake in ready and set(os.read(wake, 64)) & set(STOPS):
        return True
    return 0 in ready and not os.read(0, 64)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        sys.exit("usage: python -m reconciler.local.lifeline -- COMMAND…")
    sys.exit(run(sys.argv[2:]))
