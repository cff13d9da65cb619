"""Thousands of running batches of one company: a tick looks at each a few times."""

from collections.abc import Callable, Iterator

import pytest

from reconciler.contract.database import connect
from reconciler.contract.store import Store
from tests.databases import Databases
from tests.reconciler.contract.large_table import PLANNED, READ, STATES, begin
from tests.system.machine.sides import line, side

BATCHES = 3000
MOST_LOOKS = 13  # index scans of `workflow_states` per batch, for an advance and a finish
FILL = """
WITH seeded AS (
    INSERT INTO batches (name, blueprint)
    SELECT 'batch-' || n, '["normalize"]' FROM generate_series(1, %(batches)s) n
    RETURNING id
), known AS (
    INSERT INTO companies (key) SELECT 'company-' || n FROM generate_series(1, %(batches)s) n
    RETURNING id
), members AS (
    INSERT INTO batch_companies (batch_id, company_id)
    SELECT s.id, k.id FROM (SELECT id, row_number() OVER () AS n FROM seeded) s
    JOIN (SELECT id, row_number() OVER () AS n FROM known) k USING (n)
    RETURNING batch_id, company_id
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt,
    finished_at)
SELECT company_id, 'normalize', batch_id, 0,
    CASE batch_id %% 2 WHEN 0 THEN 'PENDING' ELSE 'COMPLETED' END, 1,
    CASE batch_id %% 2 WHEN 0 THEN NULL ELSE now() END
FROM members
"""


def fill(url: str) -> None:
    with connect(url) as connection:
        connection.execute(FILL, {"batches": BATCHES})


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
