"""The work on Tracer: see `programs.py` for the words it answers to.

`work` is what runs on one machine: the worker host, and the poll loop that the Prefect flow calls.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Event

import psycopg

from reconciler.contract.settings import load_settings
from reconciler.contract.store import Store
from reconciler.local.worker_host import running_host
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from reconciler.spawners.choose import make_spawner
from workers.noop import NAMES
from workers.runtime.loading import load_steps

PACKAGE = "workers.noop"
BLUEPRINT = NAMES[:3]
# The row of a result, and of its workflow state: when it was written, and by which attempt.
RESULT = "SELECT company_id, {number} AS step FROM results.{name}"
WRITTEN = """
SELECT company_id, {number} AS step, finished_at AS at, attempt AS writes
FROM results.{name} JOIN workflow_states USING (company_id) WHERE step_name = '{name}'
"""


def install(url: str, settings: Mapping[str, float]) -> None:
    """The schema, the steps, the intervals, and views in place of what the observer reads."""
    upgrade_schema(url)
    sync_steps(url, load_steps([PACKAGE]))
    with OperatorStore.connect(url) as operator:
        operator.set_polling(poll_s=settings["poll_s"], idle_s=settings["poll_s"])
        for name in BLUEPRINT:
            sizes = {"chunk_size": settings["chunk_size"], "max_in_flight": 20_000}
            operator.set_step(name, sizes)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE bench_results CASCADE")
        for view, part in (("bench_results", RESULT), ("bench_written", WRITTEN)):
            parts = [part.format(number=i, name=name) for i, name in enumerate(BLUEPRINT, 1)]
            connection.execute(f"CREATE VIEW {view} AS {' UNION ALL '.join(parts)}".encode())


def enqueue(url: str, first: int, last: int) -> None:
    """A batch of companies, once told to; a new database numbers them as the runner does."""
    with OperatorStore.connect(url) as operator:
        rows = [(i, str(i), f"Company {i}", None, {}) for i in range(first, last + 1)]
        say("ready")
        sys.stdin.readline()
        seed_batch(operator, rows, name=f"from {first}", blueprint=BLUEPRINT, columns=[])
        say("done")
        sys.stdin.readline()


def work(url: str, package: str = PACKAGE) -> None:
    """The loop, with a host of its own for the steps of a package, until it is ended."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="tracer-peers-") as home:
        given = {"home": Path(home), "workers": "local", "steps": [package]}
        settings = load_settings().model_copy(update=given)
        with (
            running_host(settings, url),
            Store.connect(url) as store,
            closing(make_spawner(settings)) as spawner,
        ):
            say("ready")
            poll(store, spawner, stop, lambda _: None)


def say(word: str) -> None:
    """Tell the runner."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """One role."""
    role, *rest = sys.argv[1:]
    url = os.environ["DATABASE_URL"]
    if role == "install":
        install(url, json.loads(os.environ["PEER_SETTINGS"]))
    elif role == "enqueue":
        enqueue(url, *map(int, rest))
    else:
        work(url)


if __name__ == "__main__":
    main()
