"""Thousands of running batches of one company: a tick looks at each a few times."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from reconciler.contract.database import connect
from reconciler.contract.store import Store
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.databases import Databases
from tests.reconciler.contract.large_table import PLANNED, READ, STATES, begin, make_members
from tests.system.machine.sides import line, side
from tests.world import Scripted

BATCHES = 3000
MOST_LOOKS = 13  # index scans of `workflow_states` per batch, for an advance and a finish
# Of every second batch the company is done, and not advanced.
HALF_DONE = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt,
    finished_at)
SELECT company_id, 'normalize', batch_id, 0,
    CASE batch_id % 2 WHEN 0 THEN 'PENDING' ELSE 'COMPLETED' END, 1,
    CASE batch_id % 2 WHEN 0 THEN NULL ELSE now() END
FROM batch_companies
"""
PENDING = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT company_id, 'normalize', batch_id, 0 FROM batch_companies
"""
# As workers leave what was claimed.
LAND = """
UPDATE workflow_states
SET status = 'COMPLETED', started_at = now(), finished_at = now(), lease_expires_at = NULL
WHERE status = 'QUEUED'
"""
COMPANIES, MOST_TIMES = 50_000, 3.5  # 2.4 on an idle machine


def fill(url: str) -> None:
    with connect(url) as connection:
        make_members(connection, BATCHES, BATCHES, "normalize", apart=True)
        connection.execute(HALF_DONE)


def fill_and_analyze(url: str) -> None:
    fill(url)
    with connect(url) as connection:
        connection.execute("ANALYZE")


@pytest.fixture(params=PLANNED)
def planned(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def store(planned: str, databases: Databases) -> Iterator[Store]:
    filling = fill if planned == "never analyzed" else fill_and_analyze
    with databases.filled(filling) as url:
        made = side(Store, url)
        yield made
        made.close()


def test_a_tick_looks_at_each_batch_a_few_times(planned: str, store: Store) -> None:
    now = store.now()
    verbs: dict[str, Callable[[], object]] = {
        "due": lambda: store.due(now),
        "claim": lambda: store.claim(now),
        "advance": lambda: store.advance(now),
        "finish": lambda: (store.advance(now), store.finish(now)),
    }
    for name, verb in verbs.items():
        begin(line(store).only, planned)
        verb()
        found = line(store).only.execute(READ, {"table": STATES}).fetchone()
        assert found, name
        assert found["seq_scan"] == 0, name
        assert found["idx_scan"] <= MOST_LOOKS * BATCHES, (name, found)
        line(store).only.execute("ROLLBACK")


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_batches_of_one_company_tick_nearly_as_fast_as_one_batch_of_all(
    databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two take turns, so that a busy machine is fair. It took 70 times as long
    where each batch looked through all leases."""
    with ExitStack() as stack:
        few = stack.enter_context(pending(databases, 1))
        many = stack.enter_context(pending(databases, COMPANIES))
        took: dict[Store, float] = {few: 0, many: 0}
        while min(came_to := [ticked(store, took) for store in took]):
            assert len(set(came_to)) == 1
        ratio = took[many] / took[few]
        for store in took:
            done = store.rows("SELECT status, count(*)::int AS rows FROM batches GROUP BY status")
            assert [row["status"] for row in done] == ["FINISHED"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{COMPANIES} batches: {took[many]:.1f} s, {ratio:.2f} times one batch\n"
        )
    assert ratio < MOST_TIMES


@contextmanager
def pending(databases: Databases, batches: int) -> Iterator[Store]:
    """So many batches that share the companies out."""
    with databases.one() as url:
        with connect(url) as connection:
            connection.autocommit = True
            make_members(connection, batches, COMPANIES, "normalize", apart=batches > 1)
            connection.execute(PENDING)
            connection.execute("UPDATE enrichment_registry SET max_in_flight = 10000")
            connection.execute("VACUUM ANALYZE")
        with Store.connect(url) as store:
            yield store


def ticked(store: Store, took: dict[Store, float]) -> int:
    """Tick, and note how long it took; the rows that it moved."""
    began = time.perf_counter()
    report = tick(store, Scripted(Spawned("fc-1")), store.now())
    took[store] += time.perf_counter() - began
    store.rows(LAND)
    return report.claimed + report.advanced
