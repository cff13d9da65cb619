"""A thousand providers with limits, and ten thousand batches: what their limits cost a tick."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import pytest

from reconciler.contract.database import connect
from reconciler.contract.store import Store
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.databases import Databases
from tests.world import Scripted

PROVIDERS, BATCHES, EACH = 1000, 10_000, 3
TICKS, MOST_TIMES = 5, 2.0
FOR_LIMITS = 3  # statements of a claim: read the limits, count the calls, note the calls
# Each step buys at a provider of its own.
STEPS = """
INSERT INTO enrichment_registry
SELECT (jsonb_populate_record(r, jsonb_build_object(
    'step_name', 'step-' || n, 'provider', 'provider-' || n, 'price', 0.01,
    'max_in_flight', 1))).*
FROM enrichment_registry r CROSS JOIN generate_series(1, %(providers)s) n
WHERE r.step_name = 'normalize'
"""
# Each batch has one step, and companies that no other batch of this step has.
ROWS = """
WITH made AS (
    INSERT INTO batches (name, blueprint)
    SELECT 'batch-' || n, jsonb_build_array('step-' || 1 + n %% %(providers)s)
    FROM generate_series(1, %(batches)s) n
    RETURNING id, blueprint, split_part(name, '-', 2)::int - 1 AS n
), known AS (
    INSERT INTO companies (key)
    SELECT 'company-' || n FROM generate_series(1, %(each)s::int * %(batches)s / %(providers)s) n
    RETURNING id, split_part(key, '-', 2)::int - 1 AS n
), members AS (
    INSERT INTO batch_companies (batch_id, company_id)
    SELECT m.id, k.id FROM made m JOIN known k ON k.n / %(each)s = m.n / %(providers)s
    RETURNING batch_id, company_id
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position)
SELECT m.company_id, b.blueprint ->> 0, b.id, 0 FROM members m JOIN made b ON b.id = m.batch_id
"""
# Each has room for a call a second, and for a thousand a day.
LIMITS = """
INSERT INTO providers (name, windows, spacing_s)
SELECT 'provider-' || n,
    '[{"limit": 60, "seconds": 60}, {"limit": 1000, "seconds": 86400}]', 1.035
FROM generate_series(1, %(providers)s) n
"""
# As workers leave what was claimed, and what it bought.
LAND = """
WITH bought AS (UPDATE orders SET sent_at = now(), send_at = NULL)
UPDATE workflow_states
SET status = 'COMPLETED', started_at = now(), finished_at = now(), lease_expires_at = NULL
WHERE status = 'QUEUED'
"""


@contextmanager
def filled(databases: Databases, *, limits: bool) -> Iterator[Store]:
    values = {"providers": PROVIDERS, "batches": BATCHES, "each": EACH}
    with databases.one() as url:
        with connect(url) as connection:
            connection.autocommit = True
            for statement in (STEPS, ROWS, *([LIMITS] if limits else [])):
                connection.execute(statement.encode(), values)
            connection.execute("VACUUM ANALYZE")
        with Store.connect(url) as store:
            yield store


def timed(store: Store, took: list[float]) -> int:
    """Tick, and note how long it took; returns the number of rows that it claimed."""
    began = time.perf_counter()
    report = tick(store, Scripted(Spawned("fc-1")), store.now())
    took.append(time.perf_counter() - began)
    return report.claimed


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_limits_of_a_thousand_providers_double_a_tick_at_most(
    databases: Databases, sent: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    """The two take turns. The last ticks claim nothing, since each provider is full for a day."""
    with ExitStack() as stack:
        free, limited = (stack.enter_context(filled(databases, limits=on)) for on in (False, True))
        took: dict[Store, list[float]] = {free: [], limited: []}
        statements = dict.fromkeys(took, 0)
        for _ in range(TICKS):
            for store in took:
                sent.clear()
                assert timed(store, took[store]) == PROVIDERS
                statements[store] = len(sent)
                store.rows(LAND)
            limited.rows("UPDATE providers SET next_at = now()")  # as if its spacing had passed
        full: list[float] = []
        limited.rows("UPDATE providers SET full_until = now() + interval '1 hour', calls_left = 0")
        assert [timed(limited, full) for _ in range(3)] == [0, 0, 0]
    assert statements[limited] <= statements[free] + FOR_LIMITS
    without, with_limits = (median(found) for found in took.values())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{PROVIDERS} providers, {BATCHES} batches: a tick of {PROVIDERS} rows takes "
            f"{without:.2f} s, {with_limits:.2f} s with limits, {median(full):.2f} s if full\n"
        )
    assert with_limits < MOST_TIMES * without
    assert median(full) < MOST_TIMES * without
