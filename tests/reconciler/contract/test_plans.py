"""No statement of a tick or a worker reads the table: each finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from reconciler.contract.claimed import Verdict
from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.sql import claim, dispatch
from reconciler.contract.sql import worker as work
from reconciler.contract.store import Store, claim_values
from reconciler.contract.worker_statements import complete_statement
from reconciler.contract.worker_store import Failure, WorkerStore
from reconciler.dispatch import count_rows
from tests.databases import Databases
from tests.reconciler.contract.large_table import PLANNED, READ, STATES, begin, large, scans
from tests.system.machine.sides import line, side
from tests.world import World
from workers.steps.normalize import Normalized

LOOP = re.compile(r"Anti Join|Join Filter: .*company_id")  # a row by row comparison


@pytest.fixture(params=PLANNED)
def planned(request: pytest.FixtureRequest) -> str:
    """How statements on the large table are planned; "empty": there is no such table."""
    found: str = request.param
    return found


@pytest.fixture
def url(planned: str, databases: Databases) -> Iterator[str]:
    with databases.one() if planned == "empty" else large(databases, planned) as found:
        yield found


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


def test_a_tick_reads_no_table(planned: str, store: Store) -> None:
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
        begin(line(store).only, planned)
        verb()
        assert scans(line(store).only) == 0, name
        line(store).only.execute("ROLLBACK")


def reap(store: Store, now: datetime) -> None:
    assert store.reap(now, lambda _: Verdict(now, "expired", "worker_silent"))[0] == 40


@pytest.mark.parametrize("planned", ["never analyzed"], indirect=True)
def test_what_is_in_flight_is_looked_up_and_never_looped_over(world: World, store: Store) -> None:
    """By statistics from before a batch began, nothing is in flight, so that a loop is cheap."""
    world.sql(
        "UPDATE workflow_states SET status = 'PENDING', lease_expires_at = NULL "
        "WHERE status IN ('QUEUED', 'IN_PROGRESS')"
    )
    world.sql("ANALYZE")
    world.sql("ALTER TABLE workflow_states SET (autovacuum_enabled = false)")
    values: dict[str, object] = {
        **claim_values(store.now()),
        "leases_s": [60.0] * 500,
        "company_ids": list(range(1, 501)),
        "steps": ["normalize"] * 500,
        "batch_ids": [1] * 500,
        "attempts": [1] * 500,
        "errors": ["no answer"] * 500,
        "kinds": ["raised"] * 500,
        "available": [store.now()] * 500,
        "call_ids": ["fc-1"] * 500,
        "step": "normalize",
        "ends": [None] * 500,
        "retry_after_s": [0.0] * 500,
        "call_id": None,
        "revision": SCHEMA_REVISION,
        "holder": None,
        "alone": False,
        "rows": "[]",
        "version": None,
    }
    statements = (
        *(claim.CLAIM, dispatch.CALLS_TO_CANCEL, dispatch.RECORD_CALLS, dispatch.RELEASE),
        *(dispatch.NOTE_UNKNOWN, work.BEGIN, work.HEARTBEAT, work.FAIL),
        *(work.RELEASE, work.RELEASE_BEGUN),
        complete_statement(Normalized).as_string(),
    )
    for query in statements:
        plan = line(store).only.execute(f"EXPLAIN {query}".encode(), values).fetchall()
        assert not [row for row in plan if LOOP.search(row["QUERY PLAN"])], query


@pytest.mark.parametrize("planned", ["empty"], indirect=True)
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
    row = line(store).only.execute(READ, {"table": STATES}).fetchone()
    assert row
    assert row["idx_scan"] < 5 * 100 + 5 * 20


def test_a_dispatch_reads_no_table(planned: str, store: Store) -> None:
    now = store.now() + timedelta(minutes=1)
    begin(line(store).only, planned)
    chunks = store.claim(now)
    assert chunks
    store.record_calls(chunks[:1], ["fc-1"])
    store.note_unknown(chunks[:1], ["no answer"])
    store.release(chunks[:1], [now], ["refused"])
    assert scans(line(store).only) == 0


def test_a_worker_reads_no_table(planned: str, store: Store, worker: WorkerStore) -> None:
    chunk, *_ = store.claim(store.now() + timedelta(minutes=1))
    begin(line(worker).only, planned)
    attempts = worker.begin("normalize", chunk.company_ids)
    assert worker.heartbeat(attempts)
    first, second, *_ = attempts
    assert worker.complete([first], [Normalized()])
    assert worker.fail([second], [Failure("no answer")])
    assert [scans(line(worker).only, table) for table in (STATES, "batch_companies")] == [0, 0]


def test_a_scan_would_be_seen(planned: str, store: Store) -> None:
    begin(line(store).only, planned)
    line(store).only.execute("SELECT count(*) FROM workflow_states WHERE attempt > 1")
    assert scans(line(store).only) == 1
