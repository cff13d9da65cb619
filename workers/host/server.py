"""The local pool of worker processes: what Modal is elsewhere. `python -m workers.host`.

One parent listens on a Unix socket, one JSON line per request, and answers each at once: a call is
accepted or refused. It takes only what its worker processes can begin soon, and says how much that
is, so that a tick claims no more.
"""

import argparse
import fcntl
import json
import logging
import os
import signal
import socket
import socketserver
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from reconciler.contract.errors import BadInput, TracerError
from reconciler.contract.own_socket import connect_own, make_private, of_this_user
from reconciler.contract.settings import Settings, load_settings, workers_socket
from workers.host.child import STOPS
from workers.host.crew import Crew
from workers.host.member import Child
from workers.host.presence import Presence
from workers.runtime.loading import load_steps

log = logging.getLogger("tracer.host")

# What is done in so many seconds, or twice what is worked at a time if that is more, can be begun
# soon: it bridges the wait for the next tick, and hardly more than that waits if the host dies.
SOON_S = 5.0


class Host:
    """Takes calls, and has `processes` worker processes do them."""

    def __init__(self, database_url: str, settings: Settings, place: Path) -> None:
        self._steps = load_steps(on_fault=partial(log.warning, "left out: %s"))
        self._started = monotonic()
        self._draining = Event()
        self.presence = Presence(place)
        numbers = count(1)

        def new_child() -> Child:
            return Child(database_url, self.presence.lock, f"{self.presence.name}.{next(numbers)}")

        self._crew = Crew(self._steps, settings.worker_processes, new_child, settings.grace_s)

    def start(self) -> None:
        """Start the worker processes."""
        self.presence.begin()
        self._crew.start()

    def accept(self, request: Any) -> dict[str, Any]:
        """Answer one request: `{}` when the call was taken, else why it was not.

        To `{"room": true}`: see `room`.
        """
        if request == {"room": True}:
            return self.room()
        try:
            step, company_ids = str(request["step"]), [int(i) for i in request["company_ids"]]
        except (KeyError, TypeError, ValueError):
            return {"refused": "not a call: it has step and company_ids"}
        if step not in self._steps:
            return {"refused": f"the worker host has no step {step!r}: restart it"}
        if self._draining.is_set():
            return {"refused": "the worker host is stopping"}
        # Twice the limit: it changes with the pace, and two loops may have asked for the same room.
        # A refusal would make the rows wait for a backoff.
        if (held := self._crew.companies(step)) >= 2 * self._limit(step):
            return {"refused": f"the worker host has {held} companies of {step}"}
        self._crew.give(step, company_ids)
        return {}

    def room(self) -> dict[str, Any]:
        """How many companies of each step can be taken now, and who would take them.

        `up_s`: for how many seconds this host has been up. `holder` names this host, and `alive`
        all hosts of this place of which a process still lives: what others of its family hold was
        lost with them. So was what the processes of this host that are `gone` held.
        """
        return {
            "room": {
                step: 0 if self._draining.is_set() else self._free(step) for step in self._steps
            },
            "up_s": monotonic() - self._started,
            "holder": self.presence.name,
            "family": self.presence.family,
            "alive": self.presence.alive(),
            "gone": list(self._crew.gone),
        }

    def drain(self) -> None:
        """Take no more calls, and return when those that were taken are done."""
        self._draining.set()
        self._crew.wait_until_done()

    def close(self) -> None:
        """End the worker processes, once they have finished what is under way."""
        self._draining.set()
        self._crew.close()
        self.presence.end()

    def _limit(self, step: str) -> int:
        at_once = self._steps[step].companies_at_once * self._crew.processes
        return max(2 * at_once, round(self._crew.pace(step) * SOON_S))

    def _free(self, step: str) -> int:
        return max(0, self._limit(step) - self._crew.companies(step))


class _Requests(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        # Who asks may be killed. One who has not waited takes the outcome for unknown.
        with suppress(ConnectionError):
            for line in self.rfile:
                try:
                    request = json.loads(line)
                except ValueError:
                    request = None
                answer = json.dumps(self.server.host.accept(request)).encode()
                self.wfile.write(answer + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, host: Host) -> None:
        self.host = host
        super().__init__(str(path), _Requests)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether to serve who asks: this user's programs alone."""
        return of_this_user(request)


def claim_socket(path: Path) -> None:
    """Make way for a listener at `path`, in a directory that is this user's alone.

    Raises:
        BadInput: another host listens there, or the directory is someone else's.
    """
    make_private(path.parent)
    probe = socket.socket(socket.AF_UNIX)
    try:
        connect_own(probe, path)
    except OSError:  # left behind by a host that died, or put here while the directory was open
        path.unlink(missing_ok=True)
    else:
        raise BadInput("A worker host is running already for this TRACER_HOME.")
    finally:
        probe.close()


def listen(path: Path, settings: Settings) -> _Server:
    """A host that listens at `path`.

    Raises:
        BadInput: see `claim_socket`; DATABASE_URL is missing, or a step's file is broken.
    """
    if not settings.database_url:
        raise BadInput("The worker host needs DATABASE_URL, which a local stack sets.", "tracer up")
    host = Host(settings.database_url, settings, path.parent)
    try:
        return _claimed(path, host)
    except FileNotFoundError:  # a host that ended meanwhile has removed the directory
        return _claimed(path, host)


def _claimed(path: Path, host: Host) -> _Server:
    """Listen at `path`. Of hosts that start at once, one does, and the others see it."""
    make_private(path.parent)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        claim_socket(path)
        return _Server(path, host)
    finally:
        os.close(directory)


def remove_socket(path: Path) -> None:
    """Remove the socket and its directory; the directory stays where another host uses it."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def end_at_eof(host: Host, waker: int) -> None:
    """Once standard input ends (its owner closed it, or died), finish what was taken and stop."""
    while os.read(sys.stdin.fileno(), 1024):  # not by sys.stdin, which the program's end would lock
        pass
    host.drain()
    os.write(waker, b"\0")


def serve(until_eof: bool = False) -> None:
    """Run the host until SIGTERM or SIGINT, or with `until_eof` until standard input ends.

    Raises:
        BadInput: DATABASE_URL is missing, a step's file is broken, or a host is running.
    """
    # A signal writes to the pipe by itself. Python's own handlers run when the main thread goes on,
    # which it might never do: a signal that comes just before a wait for a lock does not end it.
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in STOPS:
        signal.signal(number, lambda *_: None)
    settings = load_settings()
    path = workers_socket(settings.home)
    with listen(path, settings) as server:
        host = server.host
        host.start()
        Thread(target=server.serve_forever, daemon=True).start()
        if until_eof:
            Thread(target=end_at_eof, args=(host, waker), daemon=True).start()
        log.info("%d worker processes, listening at %s", settings.worker_processes, path)
        os.read(wake, 1)
        log.info("stops: what is under way has %g s", settings.grace_s)
        host.close()
        server.shutdown()
        remove_socket(path)


def log_from(level: int) -> None:
    """Write what the host says to stderr, from `level` on."""
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(message)s")


def main() -> None:
    """Entry point of `python -m workers.host`."""
    parser = argparse.ArgumentParser(prog="python -m workers.host", description=__doc__)
    parser.add_argument("--until-eof", action="store_true", help="end with standard input")
    parser.add_argument("--steps", help="the packages that have them, instead of TRACER_STEPS")
    given = parser.parse_args()
    if given.steps:
        os.environ["TRACER_STEPS"] = given.steps  # for the worker processes too
    # Someone's own host, in their terminal: be brief.
    log_from(logging.WARNING if given.until_eof else logging.INFO)
    try:
        serve(given.until_eof)
    except TracerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
