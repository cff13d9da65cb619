"""A worker host in a program of its own, as `tracer up` and cron's `reconcile` start one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reconciler.contract.settings import workers_socket
from reconciler.local.worker_host import accepts
from tests.world import wait_until


@contextmanager
def hosting(
    home: Path, url: str, *options: str, steps: str | None = None, processes: int = 1, **more: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A host, once it listens; it ends with the block.

    `home` is its TRACER_HOME and its working directory, `steps` its TRACER_STEPS. `more` is for
    Popen.
    """
    environment = os.environ | {
        "DATABASE_URL": url,
        "TRACER_HOME": str(home),
        "TRACER_WORKER_PROCESSES": str(processes),
        **({"TRACER_STEPS": steps} if steps else {}),
    }
    command = [sys.executable, "-P", "-m", "workers.host", *options]
    with subprocess.Popen(command, env=environment, cwd=home, **more) as host:
        try:
            wait_until(lambda: accepts(workers_socket(home)))
            yield host
        finally:
            host.terminate()
            with suppress(subprocess.TimeoutExpired):
                host.wait(10)
            host.kill()
