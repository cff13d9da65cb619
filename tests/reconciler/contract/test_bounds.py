"""What a worker's role may write into a row has bounds: one row must not stop every tick."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from psycopg import sql

from reconciler.contract.column_types import ERROR_CHARS
from reconciler.contract.grants import WORKER
from reconciler.contract.worker_store import Failure
from reconciler.schema.migrate import upgrade_schema
from tests.reconciler.schema.test_migrations import config
from tests.roles import RoleWorld, as_role, role_world

TIMES = ("available_at", "lease_expires_at", "queued_at", "started_at")
TEXTS = ("error", "call_id", "holder")
SET = "UPDATE workflow_states SET status = 'IN_PROGRESS', {column} = {value}"
KIND = ", error_kind = 'raised'"


@pytest.fixture
def world(url: str) -> Iterator[RoleWorld]:
    with role_world(url) as found:
        yield found


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("value", ["infinity", "-infinity", "20000-01-01"])
def test_a_worker_writes_no_time_that_cannot_be_read(
    world: RoleWorld, url: str, time: str, value: str
) -> None:
    world.claimed()
    statement = sql.SQL(SET).format(column=sql.Identifier(time), value=sql.Literal(value))
    refused = pytest.raises(psycopg.errors.CheckViolation, match="finite")
    with psycopg.connect(as_role(url, WORKER), autocommit=True) as worker, refused:
        worker.execute(statement)
    assert world.work().completed == 3


@pytest.mark.parametrize("text", TEXTS)
def test_a_worker_writes_no_long_text(world: RoleWorld, url: str, text: str) -> None:
    world.claimed()
    long = sql.SQL("repeat('x', 10_000_000)")
    statement = sql.SQL(SET).format(column=sql.Identifier(text), value=long)
    if text == "error":
        statement += sql.SQL(KIND)
    refused = pytest.raises(psycopg.errors.CheckViolation, match="short")
    with psycopg.connect(as_role(url, WORKER), autocommit=True) as worker, refused:
        worker.execute(statement)


def test_a_long_error_is_cut_before_it_is_written(world: RoleWorld) -> None:
    """Also where each of its characters has four bytes."""
    world.claimed(1)
    attempts = world.worker.begin("normalize", world.ids())
    assert world.worker.fail(attempts, [Failure("\N{WRENCH}" * 1_000_000)])
    assert [row["error"] for row in world.rows()] == ["\N{WRENCH}" * ERROR_CHARS]


def test_rows_from_before_the_bounds_are_mended(url: str) -> None:
    command.downgrade(config(url), "0015")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO batches (name, blueprint) VALUES ('b', '[\"a\"]')")
        owner.execute("INSERT INTO companies (key) VALUES ('one'), ('two')")
        owner.execute("INSERT INTO batch_companies SELECT 1, id FROM companies")
        owner.execute(
            "INSERT INTO workflow_states (company_id, step_name, batch_id, position, available_at,"
            " error, call_id) VALUES (1, 'a', 1, 0, 'infinity', repeat('x', 9000), 'call'),"
            " (2, 'a', 1, 0, '2026-01-01 00:00:00+00', 'short', NULL)"
        )
        upgrade_schema(url)
        found = owner.execute(
            "SELECT available_at <= now(), length(error), call_id, lease_expires_at"
            " FROM workflow_states ORDER BY company_id"
        ).fetchall()
    assert found == [(True, 250, "call", None), (True, 5, None, None)]
