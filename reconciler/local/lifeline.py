"""Runs a command that must end when its owner ends.

Usage: `python -m reconciler.local.lifeline [SECONDS] -- COMMAND…`.

The owner has the other end of this program's standard input. That end closes when the owner closes
it or dies in any way (SIGKILL too). Then, or on SIGTERM, SIGINT or SIGHUP, the command and all its
descendants get SIGTERM, and SIGKILL after so many seconds (`GRACE_S`). This program exits with the
command's code, or with 128 plus the signal that ended it. It imports only the standard library, so
it starts at once.
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
    """Fields 3 (state) and later of /proc/PID/stat (proc(5)); None if `pid` does not run."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return None


def parents() -> dict[int, int]:
    """The parent's pid of every running process of this machine; zombies do not count."""
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
    """`root` and all its descendants, also those in other process groups and sessions."""
    running = parents()
    found = {root} & running.keys()
    generation = found
    while generation:
        generation = {pid for pid, parent in running.items() if parent in generation} - found
        found |= generation
    return found


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to each process; a process that is gone is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(roots: set[int], grace_s: float) -> None:
    """End these and their families: SIGTERM, then SIGKILL after `grace_s` seconds."""
    # A flow run has its own session, so the family is found by parents and not by process groups.
    # It is found before the first signal: a process without its parent could not be found any more.
    doomed = {pid for root in roots for pid in family(root)}
    send(doomed, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while doomed & parents().keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    send(doomed & parents().keys(), signal.SIGKILL)


def end(command: "subprocess.Popen[bytes]", grace_s: float) -> int:
    """End the command and its family; returns its exit code."""
    end_all({command.pid}, grace_s)
    # A command that ended by itself has no family to find, but its process group may still run.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(command.pid, signal.SIGKILL)
    return command.wait()


def run(arguments: list[str], grace_s: float = GRACE_S) -> int:
    """Run the command until it ends or must end; returns the exit code."""
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
    code = end(command, grace_s)
    return code if code >= 0 else 128 - code


def _must_end(selector: selectors.BaseSelector, wake: int) -> bool:
    """Wait for the owner or a signal; True if it is time to end."""
    ready = {key.fd for key, _ in selector.select()}
    if wake in ready and set(os.read(wake, 64)) & set(STOPS):
        return True
    return 0 in ready and not os.read(0, 64)


if __name__ == "__main__":
    before = sys.argv.index("--") if "--" in sys.argv else 0
    if before not in (1, 2) or not sys.argv[before + 1 :]:
        sys.exit("usage: python -m reconciler.local.lifeline [SECONDS] -- COMMAND…")
    sys.exit(run(sys.argv[before + 1 :], float(sys.argv[1]) if before == 2 else GRACE_S))
