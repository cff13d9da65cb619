"""An advance through a waterfall is one statement, and reads what it moves and no more."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.contract.database import Connection, connect
from reconciler.contract.sql.tick import ADVANCE
from reconciler.contract.store import Store
from tests.databases import Databases
from tests.reconciler.contract.large_table import make_members
from tests.world import World

COMPANIES, BATCHES, TO_MOVE = 250_000, 4, 1000
WATERFALL = {"first": ["normalize", "step_a"]}
# Every company has passed the first member, and all but the last have gone on. A tenth has FAILED.
ENDED = """
INSERT INTO workflow_states (company_id, step_name, batch_id, position, in_waterfall, status,
    attempt, advanced, finished_at, error, error_kind)
SELECT company_id, 'normalize', batch_id, 0, true, s.status, 1,
    (company_id + batch_id) %% %(every)s > 0, now(),
    CASE s.status WHEN 'FAILED' THEN 'no' END, CASE s.status WHEN 'FAILED' THEN 'permanent' END
FROM batch_companies
CROSS JOIN LATERAL (SELECT CASE company_id %% 10
    WHEN 0 THEN 'FAILED' WHEN 1 THEN 'NOT_FOUND' ELSE 'COMPLETED' END AS status) s
"""


def fill(url: str) -> None:
    with connect(url) as connection:
        connection.execute("SET session_replication_role = replica")  # no checks of foreign keys
        make_members(connection, BATCHES, COMPANIES, WATERFALL, "step_b")
        every = COMPANIES * BATCHES // TO_MOVE
        connection.execute(ENDED, {"every": every})
        connection.execute("ANALYZE")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def explained(connection: Connection, store: Store) -> dict[str, Any]:
    values = {"now": store.now(), "limit": 10_000}
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ADVANCE}"
    found = connection.execute(query.encode(), values).fetchone()
    assert found
    plan: dict[str, Any] = found["QUERY PLAN"][0]["Plan"]
    return plan


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_among_a_million_rows_an_advance_reads_what_it_moves(databases: Databases) -> None:
    with databases.filled(fill) as url, Store.connect(url) as store, connect(url) as connection:
        plan = explained(connection, store)
        read = [node["Node Type"] for node in nodes(plan) if "workflow_states" in str(node)]
        whole = [
            node
            for node in nodes(plan)
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "workflow_states"
        ]
        assert read
        assert whole == []
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60 * TO_MOVE
        rows = connection.execute(
            "SELECT step_name, count(*) AS rows FROM workflow_states WHERE position > 0 GROUP BY 1"
        ).fetchall()
    moved = {row["step_name"]: row["rows"] for row in rows}
    assert sum(moved.values()) == TO_MOVE
    assert moved.keys() <= {"step_a", "step_b"}


def test_a_blueprint_of_a_thousand_places_is_gone_through(world: World) -> None:
    """Every second place is a waterfall of two; what is found at once passes each second member."""
    world.seed(2, ["normalize"])
    names = ["normalize", *(f"unknown_{number}" for number in range(999))]
    pairs = [{"first": [one, other]} for one, other in zip(names[::2], names[1::2], strict=True)]
    change = "UPDATE batches SET blueprint = %(it)s::jsonb"
    world.sql(change, it=json.dumps(pairs))
    world.sql("UPDATE workflow_states SET in_waterfall = true")
    end = "UPDATE workflow_states SET status = %(status)s, finished_at = now() WHERE NOT advanced"
    for _ in pairs:
        world.sql(f"{end} AND position %% 2 = 0", status="COMPLETED")
        assert world.store.advance(world.store.now()) == 2
    passed = world.sql("SELECT DISTINCT position FROM workflow_states ORDER BY 1")
    assert [row["position"] for row in passed] == [*range(0, 1000, 2)]
    assert world.store.finish(world.store.now())
