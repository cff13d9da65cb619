"""How much memory a flow run takes with a large backlog: one JSON line.

    python -m tests.bench.memory [--backlog 1000000] [--in-flight 100000]

One window of `reconciler.flow` in a process of its own, in Prefect's engine, against a Prefect
server beside it; a worker host does steps that do nothing. 10,000 leases are over at the start, and
the capacity is used up in ticks of 10,000, so that every verb meets its limit. `max_rss_mb` is the
most that the process ever held, `import_mb` what it held before its flow began.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg

from reconciler.contract.errors import Unreachable
from reconciler.contract.settings import Settings
from reconciler.local.service import HOST, Service, environment, free_port
from reconciler.local.stack import PREFECT
from reconciler.local.worker_host import running_host
from reconciler.operator.store import OperatorStore
from reconciler.prefect.api import local_server, open_api
from tests.bench.filling import Batch, fill, report, throwaway
from workers.noop import NAMES

OVER = 10_000  # leases, which is what a reap takes at a time
QUIET = {"PREFECT_LOGGING_LEVEL": "WARNING"}
FLOW = """
import asyncio, json, resource, sys
from reconciler.flow import reconcile
def held_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6
UNIT = 1024 if sys.platform == "linux" else 1
imported = held_mb()
outcome = asyncio.run(reconcile())
print(json.dumps({"import_mb": imported, "max_rss_mb": held_mb(), "outcome": outcome}))
"""
DID = """
SELECT count(*)::int AS ticks, max(claimed) AS most_claimed, max(advanced) AS most_advanced,
    max(retried) AS most_retried, max(duration_ms) AS longest_ms
FROM ticks
"""


def answers(api_url: str) -> bool:
    """Whether Prefect's server is up."""
    try:
        with open_api(local_server(api_url)) as api:
            return api.call("GET", "health") is True
    except Unreachable:
        return False


@contextmanager
def prefect_server(settings: Settings, url: str) -> Iterator[dict[str, str]]:
    """A Prefect server of the home's own: what a flow run finds in its environment."""
    home, port = settings.home.resolve(), free_port((0,))
    for name in ("logs", "tmp"):
        (home / name).mkdir()
    found = environment(settings, url) | {"PREFECT_API_URL": f"http://{HOST}:{port}/api"}
    command = (*PREFECT, "server", "start", "--host", HOST, "--port", str(port))
    server = Service("prefect-server", command, found, home / "logs")
    try:
        server.wait_ready(partial(answers, found["PREFECT_API_URL"]), 120)
        yield found
    finally:
        server.stop()


def start_flow(seen: dict[str, str]) -> subprocess.Popen[str]:
    """Start a flow run of one window, in a process of its own that says at its end what it held."""
    command = [sys.executable, "-c", FLOW]
    return subprocess.Popen(command, env=seen | QUIET, stdout=subprocess.PIPE, text=True)


def outcome(run: subprocess.Popen[str]) -> dict[str, Any]:
    """What the flow run held and said, once it has ended."""
    said, _ = run.communicate()
    assert run.returncode == 0, said
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def measure(given: argparse.Namespace) -> dict[str, object]:
    """The flow run, and what its ticks did."""
    with throwaway() as (settings, url), OperatorStore.connect(url) as operator:
        for step in NAMES[:3]:
            operator.set_step(step, {"chunk_size": 500, "max_in_flight": given.in_flight})
        operator.set_polling(poll_s=0.1, idle_s=1.0, every_s=given.seconds)
        with psycopg.connect(url, autocommit=True) as connection:
            over = Batch("over", OVER, in_flight=OVER, lease_s=0)
            fill(connection, over, Batch("backlog", given.backlog, pending=given.backlog))
        with prefect_server(settings, url) as seen, running_host(settings, url):
            held = outcome(start_flow(seen))
        did = operator.rows(DID)[0]
    assert did["most_retried"] == OVER
    held |= {name: round(held[name]) for name in ("import_mb", "max_rss_mb")}
    return {"backlog": given.backlog, "in_flight": given.in_flight, **held, **did}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--in-flight", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the window, and a minute")
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
