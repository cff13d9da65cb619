"""The local pool of worker processes: what Modal is elsewhere. `python -m workers.host`.

One parent listens on a Unix socket, one JSON line per call, and answers each at once: accepted or
refused. A thread per child process feeds it calls through a pipe of its own (a queue shared by
children dies with the child that holds its lock), ends one that takes too long, and starts another
when it died; what the dead one held is the lease's to decide.
"""

import argparse
import json
import logging
import os
import signal
import socket
import socketserver
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from time import monotonic
from typing import Any

from reconciler.contract.errors import BadInput, TracerError
from reconciler.contract.settings import load_settings, workers_socket
from workers.host.child import Call, Child
from workers.runtime.loading import load_steps

log = logging.getLogger("tracer.host")

MAX_WAITING = 10_000  # calls; more are refused, and so go back to PENDING
GRACE_S = 10.0  # on top of the time-outs of a call's companies, for its writes


class Host:
    """Takes calls, and keeps `processes` children busy with them."""

    def __init__(self, database_url: str, processes: int) -> None:
        self._steps = load_steps()
        self._started = monotonic()
        self._new_child = partial(Child, database_url)
        self._calls: Queue[Call] = Queue(MAX_WAITING)
        self._draining = Event()
        self._runners = [
            Thread(target=self._run, name=f"runner-{i}", daemon=True) for i in range(processes)
        ]

    def start(self) -> None:
        """Start the children."""
        for runner in self._runners:
            runner.start()

    def accept(self, request: Any) -> dict[str, Any]:
        """Answer one request: `{}` when the call was taken, else why it was not; to `{"steps":
        true}`, the steps that there are, and for how many seconds this host has been up."""
        if request == {"steps": True}:
            return {"steps": sorted(self._steps), "up_s": monotonic() - self._started}
        try:
            call = Call(str(request["step"]), [int(i) for i in request["company_ids"]])
        except (KeyError, TypeError, ValueError):
            return {"refused": "not a call: it has step and company_ids"}
        if call.step not in self._steps:
            return {"refused": f"the worker host has no step {call.step!r}: restart it"}
        if self._draining.is_set():
            return {"refused": "the worker host is stopping"}
        if self._calls.full():
            return {"refused": f"the worker host has {MAX_WAITING} calls waiting"}
        self._calls.put(call)
        return {}

    def drain(self) -> None:
        """Take no more calls, and return when those that were taken are done."""
        self._draining.set()
        self._calls.join()

    def _run(self) -> None:
        child = self._new_child()
        while True:
            call = self._calls.get()
            limit_s = self._steps[call.step].timeout_s * len(call.company_ids) + GRACE_S
            if not child.do(call, limit_s):
                child = self._new_child()
            self._calls.task_done()


class _Requests(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        for line in self.rfile:
            try:
                request = json.loads(line)
            except ValueError:
                request = None
            answer = json.dumps(self.server.host.accept(request)).encode()
            try:
                self.wfile.write(answer + b"\n")
            except ConnectionError:  # who asked has not waited, and takes the outcome for unknown
                return


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, host: Host) -> None:
        self.host = host
        super().__init__(str(path), _Requests)


def claim_socket(path: Path) -> None:
    """Make way for a listener at `path`, in a directory that is this user's alone.

    Raises:
        BadInput: another host listens there, or the directory is someone else's.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise BadInput(f"{path.parent} belongs to another user: remove it, or set TRACER_HOME.")
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except OSError:
        path.unlink(missing_ok=True)  # left behind by a host that died
    else:
        raise BadInput("A worker host is running already for this TRACER_HOME.")
    finally:
        probe.close()


def listen(path: Path, host: Host) -> _Server:
    """Listen at `path`.

    Raises:
        BadInput: see `claim_socket`.
    """
    claim_socket(path)
    try:
        return _Server(path, host)
    except FileNotFoundError:  # a host that ended meanwhile has removed the directory
        claim_socket(path)
        return _Server(path, host)


def remove_socket(path: Path) -> None:
    """Remove the socket and its directory; the directory stays where another host uses it."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def drain_at_eof(server: "_Server") -> None:
    """Once standard input ends (its owner closed it, or died), finish what was taken and stop."""
    sys.stdin.buffer.read()
    server.host.drain()
    server.shutdown()


def serve(until_eof: bool = False) -> None:
    """Run the host until SIGTERM or SIGINT, or with `until_eof` until standard input ends.

    Raises:
        BadInput: DATABASE_URL is missing, a step's file is broken, or a host is running.
    """
    settings = load_settings()
    if not settings.database_url:
        raise BadInput("The worker host needs DATABASE_URL, which a local stack sets.", "tracer up")
    host = Host(settings.database_url, settings.worker_processes)
    path = workers_socket(settings.home)
    with listen(path, host) as server:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        host.start()
        if until_eof:
            Thread(target=drain_at_eof, args=(server,), daemon=True).start()
        log.info("%d worker processes, listening at %s", settings.worker_processes, path)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("stopped")
        finally:
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
