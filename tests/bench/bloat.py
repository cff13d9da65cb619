"""How much room the table takes after many times the same work: one JSON line.

    python -m tests.bench.bloat [--transitions 1000000] [--times 10] [--autovacuum stock]
        [--storage "fillfactor=90"]

A batch goes through its steps as in `tracer bench`, a million transitions (seed, claim, begin,
complete and advance of each company-step); then it is deleted and the same companies are seeded as
a new one, as a list is that is enriched again every week; and so on. `mb` is the size of
`workflow_states` with its indexes after each time. `--autovacuum stock` has Postgres's own defaults
instead of those of the embedded one, and `--storage` sets parameters of the table.
"""

import argparse

import psycopg

from reconciler.benchmark import NAME, check, rows, run
from reconciler.contract.store import Store
from reconciler.local.worker_host import running_host
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from tests.bench.filling import report, throwaway, value
from tests.bench.horizon import SETTINGS, TRANSITIONS
from workers.noop import NAMES

SIZES = """
SELECT relname, pg_table_size(oid) FROM pg_class WHERE relname = 'workflow_states'
UNION ALL
SELECT c.relname, pg_relation_size(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'workflow_states'::regclass
"""
VACUUMS = "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'workflow_states'"
STOCK = ("autovacuum_naptime = '1min'", "autovacuum_vacuum_scale_factor = 0.2")


def prepare(eyes: psycopg.Connection, autovacuum: str, storage: str) -> None:
    """Have Postgres clean up as it is asked to."""
    for setting in STOCK if autovacuum == "stock" else ():
        eyes.execute(f"ALTER SYSTEM SET {setting}".encode())
    eyes.execute("SELECT pg_reload_conf()")
    if storage:
        eyes.execute(f"ALTER TABLE workflow_states SET ({storage})".encode())


def sizes(eyes: psycopg.Connection) -> dict[str, float]:
    """Megabytes of the table and of each of its indexes."""
    return {name: round(size / 1e6, 1) for name, size in eyes.execute(SIZES).fetchall()}


def measure(given: argparse.Namespace) -> dict[str, object]:
    """The same work over and over, and the room that was taken after each time."""
    blueprint = NAMES[: given.steps]
    companies = -(-given.transitions // TRANSITIONS // given.steps)
    steps = companies * given.steps
    found, speeds = [], []
    with (
        throwaway() as (settings, url),
        OperatorStore.connect(url) as operator,
        psycopg.connect(url, autocommit=True) as eyes,
    ):
        prepare(eyes, given.autovacuum, given.storage)
        for step in blueprint:
            operator.set_step(step, SETTINGS)
        operator.set_polling(poll_s=0.1, idle_s=1.0)
        for _ in range(1 + given.times):
            eyes.execute("DELETE FROM batches")
            seed_batch(operator, rows(companies), name=NAME, blueprint=blueprint, columns=[])
            with Store.connect(url) as store, running_host(settings, url):
                speeds.append(companies * given.steps / run(store, settings))
            check(operator, companies, blueprint)
            found.append(sizes(eyes))
        vacuums = value(eyes, VACUUMS)
    mb = [round(sum(one.values())) for one in found]
    return {
        "transitions_each": steps * TRANSITIONS,
        "autovacuum": given.autovacuum,
        "storage": given.storage,
        "mb": mb,
        "ratio": round(mb[-1] / mb[0], 2),
        "first_mb": found[0],
        "last_mb": found[-1],
        "vacuums": vacuums,
        "company_steps_per_s": [round(speed) for speed in speeds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bloat", description=__doc__)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="each time")
    parser.add_argument("--times", type=int, default=10, help="after the first")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--autovacuum", choices=["embedded", "stock"], default="embedded")
    parser.add_argument("--storage", default="", help="parameters of the table")
    report(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
