"""A worker host for as long as one command needs it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.contract.errors import WorkFailed
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.python import PYTHON, child_environment
from reconciler.local.stack import accepts

READY_S = 30.0


@contextmanager
def worker_host(settings: Settings, database_url: str) -> Iterator[None]:
    """The worker host that runs, or one of our own that finishes what it was given at the end.

    Raises:
        WorkFailed: it does not come up; what it says is on stderr.
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
            raise WorkFailed("The worker host did not start; its own words are above.")
        time.sleep(0.05)
