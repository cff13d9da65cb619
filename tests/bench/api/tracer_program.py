"""The work on Tracer: see `peers/programs.py` for the words it answers to."""

import json
import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import psycopg

from reconciler.operator.money.caps import read_target, set_cap
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from tests.bench.peers.tracer_run import say, work
from workers.runtime.loading import load_steps

PACKAGE = "tests.bench.api.steps"
WRITTEN = """
DROP TABLE IF EXISTS bench_written;
CREATE VIEW bench_written AS
SELECT company_id, step_name AS step, finished_at AS at
FROM workflow_states WHERE status = 'COMPLETED'
"""


def install(url: str, settings: Mapping[str, Any]) -> None:
    """The schema, the steps, and a view of what is done; the intervals are the default."""
    upgrade_schema(url)
    sync_steps(url, load_steps([PACKAGE]))
    with OperatorStore.connect(url) as operator:
        sizes = {
            name: settings[name] for name in ("max_in_flight", "chunk_size") if name in settings
        }
        for name in settings["blueprint"]:
            operator.set_step(name, sizes)
        if cap := settings.get("cap"):
            set_cap(operator, read_target(operator, "all", None), Decimal(cap))
    with psycopg.connect(url) as connection:
        connection.execute(WRITTEN)


def enqueue(url: str, settings: Mapping[str, Any], first: int, last: int) -> None:
    """A batch of companies, once told to; a new database numbers them as the runner does."""
    blueprint = settings["blueprint"]
    rows = [
        (i, f"company-{i}", f"Company {i}", f"company-{i}.example.com", {"Country": "CH"})
        for i in range(first, last + 1)
    ]
    with OperatorStore.connect(url) as operator:
        say("ready")
        sys.stdin.readline()
        seed_batch(operator, rows, name=f"from {first}", blueprint=blueprint, columns=[])
    say("done")
    sys.stdin.readline()


def main() -> None:
    """One role."""
    role, *rest = sys.argv[1:]
    url, settings = os.environ["DATABASE_URL"], json.loads(os.environ["PEER_SETTINGS"])
    if role == "install":
        install(url, settings)
    elif role == "enqueue":
        enqueue(url, settings, *map(int, rest))
    else:
        work(url, PACKAGE)


if __name__ == "__main__":
    main()
