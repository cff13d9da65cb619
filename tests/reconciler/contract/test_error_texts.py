"""A step may have put a company's data into an error: the conductor moves the text, unread."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from alembic import command

from reconciler.contract.grants import CONDUCTOR, OPERATOR, WORKER
from reconciler.contract.sql import tick
from reconciler.contract.worker_store import Failure
from reconciler.schema.migrate import upgrade_schema
from tests.reconciler.schema.test_migrations import config
from tests.roles import RoleWorld, as_role, role_world

TEXT = "ValueError: Acme Inc of 1 Main Street"
PATHS = [
    "SELECT error FROM workflow_states",
    "SELECT w FROM workflow_states w",
    "SELECT to_jsonb(w) FROM workflow_states w",
    "SELECT 1 FROM workflow_states WHERE error LIKE 'V%'",
    "SELECT 1 FROM workflow_states ORDER BY error",
    "UPDATE workflow_states SET status = status RETURNING error",
    "UPDATE workflow_states SET call_id = error",
    "UPDATE workflow_states SET status = status WHERE error IS NOT NULL",
    "COPY workflow_states (error) TO STDOUT",
    "TABLE attempts",
    "SELECT count(*) FROM attempts",
]
BAD: list[dict[str, Any]] = [
    {"kinds": ["gossip"]},
    {"kinds": [None]},
    {"available": ["infinity"]},
    {"available": [None], "now": None},
    {"available": ["infinity"], "now": "infinity"},
    {"now": None},
    {"forgiving": [None]},
    {"lost": [None]},
    {"attempts": ["text"]},
]


@pytest.fixture
def world(url: str) -> Iterator[RoleWorld]:
    """Of two companies one has failed for good, and one has a failed attempt and fails again."""
    with role_world(url) as found:
        found.operator.set_step("normalize", {"backoff_s": 0, "backoff_max_s": 0})
        found.claimed(2)
        assert fail(found) == 2
        found.tick()
        assert fail(found) == 2
        found.operator.set_step("normalize", {"max_attempts": 2})
        yield found


def fail(world: RoleWorld) -> int:
    attempts = world.worker.begin("normalize", world.ids())
    return len(world.worker.fail(attempts, [Failure(TEXT)] * len(attempts)))


@pytest.fixture
def conductor(url: str, world: RoleWorld) -> Iterator[psycopg.Connection[Any]]:
    assert world.statuses() == {"IN_PROGRESS": 2}
    with psycopg.connect(as_role(url, CONDUCTOR), autocommit=True) as connection:
        yield connection


def values(world: RoleWorld, **changed: Any) -> dict[str, Any]:
    """What the reap is told of the first company."""
    row = world.rows()[0]
    now: datetime = world.store.now()
    told = {
        "company_ids": [row["company_id"]],
        "steps": [row["step_name"]],
        "batch_ids": [row["batch_id"]],
        "attempts": [row["attempt"]],
        "available": [now],
        "errors": [None],
        "kinds": ["raised"],
        "forgiving": [False],
        "lost": [False],
        "waits": [False],
    }
    return {"now": now, **told, **changed}


@pytest.mark.parametrize("path", PATHS)
def test_no_statement_of_the_conductor_reads_a_text(
    conductor: psycopg.Connection[Any], path: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conductor.execute(path.encode())


def test_nor_do_the_statistics_tell_it(
    world: RoleWorld, conductor: psycopg.Connection[Any]
) -> None:
    world.sql("ANALYZE")
    columns = conductor.execute("SELECT attname FROM pg_stats")
    assert "error" not in {name for (name,) in columns}
    assert world.sql("SELECT most_common_vals::text AS v FROM pg_stats WHERE attname = 'error'")


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_nor_does_what_the_reap_says_when_it_is_told_nonsense(
    world: RoleWorld, conductor: psycopg.Connection[Any], bad: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        conductor.execute(tick.REAP, values(world, **bad))
    said = refused.value.diag
    parts = [getattr(said, name) for name in dir(said) if not name.startswith("_")]
    assert "Acme" not in f"{refused.value} {parts}"
    assert [row["status"] for row in world.rows()] == ["IN_PROGRESS"] * 2


def test_an_edit_that_a_constraint_refuses_does_not_show_the_row(
    conductor: psycopg.Connection[Any],
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        conductor.execute("UPDATE workflow_states SET attempt = -1")
    assert refused.value.diag.message_detail is None


def test_the_reap_moves_the_text(world: RoleWorld, conductor: psycopg.Connection[Any]) -> None:
    """To the attempts, or it stays; what the policy says comes before it."""
    told = values(world, available=[None], errors=["waited for too long"])
    assert conductor.execute(tick.REAP, told).fetchall() == [(0, 1)]
    assert world.tick().failed == 1
    assert [row["error"] for row in world.rows()] == [f"waited for too long: {TEXT}", TEXT]
    assert (
        world.sql("SELECT error, error_kind FROM attempts")
        == [{"error": TEXT, "error_kind": "raised"}] * 2
    )


def test_a_reap_of_another_attempt_moves_nothing(
    world: RoleWorld, conductor: psycopg.Connection[Any]
) -> None:
    told = values(world, attempts=[1])
    assert conductor.execute(tick.REAP, told).fetchall() == [(0, 0)]
    assert world.statuses() == {"IN_PROGRESS": 2}


@pytest.mark.parametrize("role", [WORKER, OPERATOR])
def test_no_other_role_reaps_with_the_owners_rights(world: RoleWorld, url: str, role: str) -> None:
    with (
        psycopg.connect(as_role(url, role), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="tracer_reap"),
    ):
        connection.execute(tick.REAP, values(world))


def test_nor_does_anybody_before_there_are_roles(url: str) -> None:
    with psycopg.connect(url) as owner:
        owner.execute("CREATE ROLE stranger")
        owner.execute("SET LOCAL ROLE stranger")
        asked = "SELECT has_function_privilege(oid, 'EXECUTE') FROM pg_proc WHERE proname = %s"
        assert owner.execute(asked, ["tracer_reap"]).fetchall() == [(False,)]
        owner.rollback()


def test_no_schema_that_others_write_is_searched_with_the_owners_rights(world: RoleWorld) -> None:
    (found,) = world.sql("SELECT proconfig, prosecdef FROM pg_proc WHERE proname = 'tracer_reap'")
    assert found == {"proconfig": ["search_path=pg_catalog, pg_temp"], "prosecdef": True}


def test_an_error_without_a_kind_gets_one_at_the_upgrade(url: str) -> None:
    command.downgrade(config(url), "0016")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO batches (name, blueprint) VALUES ('b', '[\"a\"]')")
        owner.execute("INSERT INTO companies (key) VALUES ('one'), ('two')")
        owner.execute("INSERT INTO batch_companies SELECT 1, id FROM companies")
        owner.execute(
            "INSERT INTO workflow_states (company_id, step_name, batch_id, position, error,"
            " error_kind) VALUES (1, 'a', 1, 0, 'no', NULL), (2, 'a', 1, 0, 'no', 'timed_out')"
        )
        upgrade_schema(url)
        kinds = owner.execute("SELECT error_kind FROM workflow_states ORDER BY company_id")
        assert kinds.fetchall() == [("raised",), ("timed_out",)]
