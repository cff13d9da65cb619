"""No statement of a tick or a worker reads the table: each finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from reconciler.contract.claimed import LIMIT, Verdict
from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.database import Connection
from reconciler.contract.sql import claim, dispatch, tick
from reconciler.contract.sql import worker as work
from reconciler.contract.store import FEW_CALLS, Store
from reconciler.contract.worker_store import Failure, WorkerStore, _complete_statement
from reconciler.dispatch import count_rows
from tests.system.machine.sides import line, side
from tests.world import World
from workers.steps.normalize import Normalized

BATCHES, COMPANIES = 4, 10_000  # in each batch; one row in two hundred is not done with
# As a busy system has them: nearly all is done, and what is not is spread over the table.
FILL = """
WITH seeded AS (
    INSERT INTO batches (name, blueprint)
    SELECT 'batch-' || n, '["normalize", "step_a"]' FROM generate_series(1, %(batches)s) n
    RETURNING id
), known AS (
    INSERT INTO companies (key) SELECT 'company-' || n FROM generate_series(1, %(companies)s) n
    RETURNING id
), members AS (
    INSERT INTO batch_companies (batch_id, company_id) SELECT s.id, k.id FROM seeded s, known k
), logged AS (
    INSERT INTO progress (batch_id, position, at, arrived)
    SELECT id, 0, now(), %(companies)s FROM seeded
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    lease_expires_at, finished_at, call_id)
SELECT k.id, 'normalize', b.id, 0, s.status, 1, s.status = 'COMPLETED' AND k.id %% 2 = 0,
    CASE WHEN s.status IN ('QUEUED', 'IN_PROGRESS') THEN now() + interval '1 hour' END,
    CASE WHEN s.status IN ('COMPLETED', 'CANCELLED', 'FAILED') THEN now() END, 'fc-' || k.id
FROM seeded b
CROSS JOIN known k
CROSS JOIN LATERAL (SELECT CASE
    WHEN b.id %% 2 = 0 AND k.id %% 500 = 1 THEN 'PENDING'
    WHEN b.id = 1 AND k.id %% 500 = 2 THEN 'QUEUED'
    WHEN b.id = 1 AND k.id %% 500 = 3 THEN 'IN_PROGRESS'
    WHEN k.id %% 500 = 4 THEN 'CANCELLED'
    WHEN k.id %% 500 = 5 THEN 'FAILED'
    ELSE 'COMPLETED' END AS status) s
"""
LOOP = re.compile(r"Anti Join|Join Filter: .*company_id")  # a row by row comparison
READ = """
SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'workflow_states'
"""


@pytest.fixture(params=["custom", "generic", "never analyzed"])
def filled(request: pytest.FixtureRequest, world: World) -> str:
    """A table of 40,000 rows, and how statements on it are planned."""
    world.sql(FILL, batches=BATCHES, companies=COMPANIES)
    if request.param != "never analyzed":
        world.sql("ANALYZE")
    return "generic" if request.param == "generic" else "custom"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A conductor whose every verb is in one transaction, so that its scans can be counted."""
    made = side(Store, url)
    yield made
    made.close()


@pytest.fixture
def worker(url: str) -> Iterator[WorkerStore]:
    made = side(WorkerStore, url)
    yield made
    made.close()


def begin(connection: Connection, plan: str) -> None:
    connection.execute(f"SET plan_cache_mode = force_{plan}_plan".encode())
    connection.execute("BEGIN")
    connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def scans(connection: Connection) -> int:
    row = connection.execute(READ).fetchone()
    return int(row["seq_scan"]) if row else 0


def test_a_tick_reads_no_table(filled: str, store: Store) -> None:
    now = store.now() + timedelta(minutes=1)
    verbs: dict[str, Callable[[], object]] = {
        "due": lambda: store.due(now),
        "advance": lambda: store.advance(now),
        "claim": lambda: store.claim(now),
        "calls_to_cancel": lambda: store.calls_to_cancel(),
        "note_cancelled_calls": lambda: store.note_cancelled_calls(["fc-4", "fc-504"]),
        "finish": lambda: store.finish(now),
        "reap": lambda: reap(store, now + timedelta(hours=2)),
    }
    for name, verb in verbs.items():
        begin(line(store).only, filled)
        verb()
        assert scans(line(store).only) == 0, name
        line(store).only.execute("ROLLBACK")


def reap(store: Store, now: datetime) -> None:
    assert store.reap(now, lambda _: Verdict(now, "expired", "worker_silent"))[0] == 40


def test_what_is_in_flight_is_looked_up_and_never_looped_over(world: World, store: Store) -> None:
    """By statistics from before a batch began, nothing is in flight, so that a loop is cheap."""
    world.sql(FILL, batches=BATCHES, companies=COMPANIES)
    world.sql(
        "UPDATE workflow_states SET status = 'PENDING', lease_expires_at = NULL "
        "WHERE status IN ('QUEUED', 'IN_PROGRESS')"
    )
    world.sql("ANALYZE")
    world.sql("ALTER TABLE workflow_states SET (autovacuum_enabled = false)")
    values: dict[str, object] = {
        "now": store.now(),
        "limit": LIMIT,
        "few_calls": FEW_CALLS,
        "lease_s": 60.0,
        "company_ids": list(range(1, 501)),
        "steps": ["normalize"] * 500,
        "batch_ids": [1] * 500,
        "attempts": [1] * 500,
        "errors": ["no answer"] * 500,
        "kinds": ["raised"] * 500,
        "available": [store.now()] * 500,
        "call_ids": ["fc-1"] * 500,
        "step": "normalize",
        "permanent": [False] * 500,
        "retry_after_s": [0.0] * 500,
        "call_id": None,
        "revision": SCHEMA_REVISION,
        "forgiving": [False] * 500,
        "rows": "[]",
    }
    statements = (
        *(claim.CLAIM, dispatch.CALLS_TO_CANCEL, dispatch.RECORD_CALLS, dispatch.RELEASE),
        *(dispatch.NOTE_UNKNOWN, tick.REAP, work.BEGIN, work.HEARTBEAT, work.FAIL),
        _complete_statement(Normalized).as_string(),
    )
    for query in statements:
        plan = line(store).only.execute(f"EXPLAIN {query}".encode(), values).fetchall()
        assert not [row for row in plan if LOOP.search(row["QUERY PLAN"])], query


@pytest.mark.parametrize("shallow", [0, 10, 19])
def test_a_claim_counts_no_further_than_its_capacity(
    world: World, store: Store, shallow: int
) -> None:
    """Each row that is counted is one that is looked up among those in flight: 20 batches counted
    to the capacity are 2,000."""
    world.operator.set_step("normalize", {"max_in_flight": 100})
    for number in range(20):
        world.seed(
            [f"{number}-{i}" for i in range(1 if number < shallow else 200)], name=f"{number}"
        )
    begin(line(store).only, "custom")
    assert count_rows(store.claim(store.now())) == 100
    row = line(store).only.execute(READ).fetchone()
    assert row
    assert row["idx_scan"] < 5 * 100 + 5 * 20


def test_a_dispatch_reads_no_table(filled: str, store: Store) -> None:
    now = store.now() + timedelta(minutes=1)
    begin(line(store).only, filled)
    chunks = store.claim(now)
    assert chunks
    store.record_calls(chunks[:1], ["fc-1"])
    store.note_unknown(chunks[:1], ["no answer"])
    store.release(chunks[:1], [now], ["refused"])
    assert scans(line(store).only) == 0


def test_a_worker_reads_no_table(filled: str, store: Store, worker: WorkerStore) -> None:
    chunk, *_ = store.claim(store.now() + timedelta(minutes=1))
    begin(line(worker).only, filled)
    attempts = worker.begin("normalize", chunk.company_ids)
    assert worker.heartbeat(attempts)
    first, second, *_ = attempts
    assert worker.complete([first], [Normalized()])
    assert worker.fail([second], [Failure("no answer")])
    assert scans(line(worker).only) == 0


def test_a_scan_would_be_seen(filled: str, store: Store) -> None:
    begin(line(store).only, filled)
    line(store).only.execute("SELECT count(*) FROM workflow_states WHERE attempt > 1")
    assert scans(line(store).only) == 1
