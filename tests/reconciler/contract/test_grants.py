"""What each role may not do: everything that is not granted, and no other move of a row."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest

from reconciler.contract import loop_models, models  # noqa: F401 - their tables register themselves
from reconciler.contract.column_types import ContractTable
from reconciler.contract.grants import (
    CONDUCTOR,
    GRANTS,
    OPERATOR,
    RESULTS,
    ROLES,
    SEQUENCES,
    SPECIAL,
    VIEWS,
    WORKER,
)
from reconciler.contract.states import TERMINAL, TRANSITIONS, Status
from tests.databases import Databases
from tests.roles import as_role, granted
from tests.world import STEPS

Denied = psycopg.errors.InsufficientPrivilege
DOMAIN_TABLES = [step.table.__table__ for step in STEPS.values()]  # type: ignore[attr-defined]
COLUMNS = {
    table.fullname: [column.name for column in table.columns]
    for table in (*ContractTable.metadata.tables.values(), *DOMAIN_TABLES)
} | {
    "tracer_version": ["version_num"],
    "tracer_rows": ["batch", "key", "status"],
    "results.superseded": [
        *("company_id", "table_name", "batch_id", "version", "written_at", "superseded_at"),
        "result",
    ],
}
ROW = (
    "INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt,"
    " lease_expires_at, finished_at) VALUES (1, %(step)s, 1, 0, %(status)s, 1,"
    " CASE WHEN %(status)s = ANY('{QUEUED,IN_PROGRESS}') THEN now() END,"
    " CASE WHEN %(status)s = ANY(%(terminal)s) THEN now() END)"
)
MOVE = (
    "UPDATE workflow_states SET status = %(to)s,"
    " lease_expires_at = CASE WHEN %(to)s = ANY('{QUEUED,IN_PROGRESS}') THEN now() END,"
    " finished_at = CASE WHEN %(to)s = ANY(%(terminal)s) THEN now() END"
    " WHERE company_id = 1 AND status = %(from)s"
)


def privileges(grant: str) -> dict[str, list[str]]:
    """What a grant's text says: columns per privilege, none of them where it is the whole table."""
    found = re.findall(r"([A-Z]+)(?: \(([^)]*)\))?", grant)
    return {name: columns.split(", ") if columns else [] for name, columns in found}


def granted_to(role: str, table: str) -> dict[str, list[str]]:
    """What `role` has of a table of the contract, or of a domain table."""
    if table.startswith("results."):
        per_role = SPECIAL.get(table.removeprefix("results."), RESULTS)
        return privileges(per_role.get(role, ""))
    return privileges((GRANTS | VIEWS)[table][role])


@pytest.fixture(scope="module")
def roles(databases: Databases) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """A connection of each role, and the owner's, to a database that no test leaves changed."""
    with databases.one() as url:
        users = {"owner": granted(url), **{role: as_role(url, role) for role in ROLES}}
        found = {name: psycopg.connect(place, autocommit=True) for name, place in users.items()}
        found["owner"].execute("INSERT INTO batches (name, blueprint) VALUES ('b', '[\"a\"]')")
        found["owner"].execute("INSERT INTO companies (key) VALUES ('c')")
        found["owner"].execute("INSERT INTO batch_companies VALUES (1, 1)")
        for status in Status:
            row = {"step": status.lower(), "status": status, "terminal": list(TERMINAL)}
            found["owner"].execute(ROW, row)
        yield found
        for connection in found.values():
            connection.close()


def is_allowed(connection: psycopg.Connection[Any], statement: str) -> bool:
    """Whether the statement is not denied; what it does is undone, and may fail otherwise."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except Denied:
        return False
    except psycopg.Error:
        return True
    return True


def trials(table: str) -> Iterator[tuple[str, str, str]]:
    """(privilege, column or "", statement that needs just that) for everything in a table."""
    for column in COLUMNS[table]:
        yield "SELECT", column, f'SELECT "{column}" FROM {table}'
    if table in VIEWS:  # of several tables: nobody can write there
        return
    for column in COLUMNS[table]:
        yield "INSERT", column, f'INSERT INTO {table} ("{column}") VALUES (DEFAULT)'
        yield "UPDATE", column, f'UPDATE {table} SET "{column}" = DEFAULT WHERE false'
    yield "DELETE", "", f"DELETE FROM {table} WHERE false"
    yield "TRUNCATE", "", f"TRUNCATE {table} CASCADE"


def test_every_table_has_its_line_for_every_role(url: str) -> None:
    with psycopg.connect(url) as connection:
        here = connection.execute(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert set(GRANTS) == {name for name, kind in here if kind == "r"}
    assert set(VIEWS) == {name for name, kind in here if kind == "v"}
    assert set(SEQUENCES) == {name for name, kind in here if kind == "S"}
    assert set(GRANTS) == {*ContractTable.metadata.tables, "tracer_version"}
    every = [*GRANTS.values(), *VIEWS.values(), *SPECIAL.values()]
    assert all(list(per_role) == list(ROLES) for per_role in every)


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_granted_is_denied(
    roles: dict[str, psycopg.Connection[Any]], role: str
) -> None:
    wrong = []
    for table in COLUMNS:
        allowed = granted_to(role, table)
        for privilege, column, statement in trials(table):
            columns = allowed.get(privilege)
            expected = columns is not None and (not columns or column in columns)
            if is_allowed(roles[role], statement) != expected:
                wrong.append(f"{statement}: {'denied' if expected else 'allowed'}")
        if allowed.get("SELECT") != []:
            assert not is_allowed(roles[role], f"SELECT * FROM {table}")
            assert not is_allowed(roles[role], f"COPY {table} TO STDOUT")
    assert wrong == []


SECRETS = [
    *product([CONDUCTOR], ["batch_companies", *(t for t in COLUMNS if "." in t)]),
    *product([CONDUCTOR], ["attempts", "history"]),
    *product([WORKER], ["batches", "attempts", "polling", "ticks", "throttles"]),
]


@pytest.mark.parametrize(("role", "table"), SECRETS)
def test_these_are_another_side_s_altogether(
    roles: dict[str, psycopg.Connection[Any]], role: str, table: str
) -> None:
    """Said here by itself, since the grants might be changed and the tests above would follow."""
    for _, _, statement in trials(table):
        assert not is_allowed(roles[role], statement), statement
    assert not is_allowed(roles[role], f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *(
            (CONDUCTOR, f"SELECT {name} FROM companies")
            for name in COLUMNS["companies"]
            if name not in ("id", "changed_at")
        ),
        (CONDUCTOR, "UPDATE companies SET changed_at = now()"),
        (CONDUCTOR, "SELECT body FROM results.answers"),
        (CONDUCTOR, "SELECT count(*) FROM results.answers"),
        (CONDUCTOR, "UPDATE caps SET most = 1000000"),
        (CONDUCTOR, "UPDATE orders SET charged = 0"),
        (WORKER, "SELECT most FROM caps"),
        (WORKER, "UPDATE caps SET most = 1000000"),
        (WORKER, "UPDATE caps SET spent = 0"),
        (WORKER, "INSERT INTO orders (company_id, step_name, price) VALUES (1, 'a', 0)"),
        (WORKER, "UPDATE orders SET for_attempt = 1"),
        (WORKER, "UPDATE orders SET price = 0"),
        (WORKER, "UPDATE orders SET settled = 0"),
        (WORKER, "UPDATE results.answers SET body = NULL"),
        (WORKER, "DELETE FROM results.answers"),
        (WORKER, "SELECT charged FROM spend"),
        (CONDUCTOR, "SELECT c FROM companies c"),
        (CONDUCTOR, "UPDATE batches SET blueprint = '[]'"),
        (CONDUCTOR, "UPDATE enrichment_registry SET max_in_flight = 1"),
        (CONDUCTOR, "UPDATE polling SET poll_s = 1"),
        (WORKER, "UPDATE batches SET blueprint = '[]'"),
        (WORKER, "UPDATE enrichment_registry SET max_in_flight = 1"),
        (WORKER, "UPDATE workflow_states SET attempt = 0"),
        (WORKER, "UPDATE workflow_states SET forgiven = attempt"),
        (WORKER, "UPDATE companies SET attributes = '{}'"),
        (WORKER, "DELETE FROM results.normalized"),
        (WORKER, "SELECT result FROM results.superseded"),
        (WORKER, "SELECT key FROM tracer_rows"),
        (CONDUCTOR, "SELECT key FROM tracer_rows"),
        (OPERATOR, "INSERT INTO results.normalized (company_id) VALUES (1)"),
        (OPERATOR, "DELETE FROM workflow_states"),
        (OPERATOR, "DELETE FROM history"),
        (OPERATOR, "UPDATE workflow_states SET attempt = 0"),
        *((role, "CREATE TABLE results.mine ()") for role in ROLES),
        *((role, "CREATE ROLE another") for role in ROLES),
        *((role, "ALTER TABLE workflow_states DISABLE ROW LEVEL SECURITY") for role in ROLES),
        *((role, "UPDATE tracer_version SET version_num = '1'") for role in ROLES),
    ],
)
def test_a_role_may_not(
    roles: dict[str, psycopg.Connection[Any]], role: str, statement: str
) -> None:
    assert not is_allowed(roles[role], statement)


def test_a_worker_moves_rows_as_its_verbs_do_and_no_other_way(
    roles: dict[str, psycopg.Connection[Any]],
) -> None:
    """Every status to every other, by the columns that it may write."""
    verbs = [verb for verb in TRANSITIONS if verb.who == "worker"]
    sources = {status for verb in verbs for status in verb.sources}
    targets = {status for verb in verbs for status in verb.targets}
    for source, target in product(Status, Status):
        moved: int | None = None
        try:
            with roles[WORKER].transaction(force_rollback=True):
                move = {"from": source, "to": target, "terminal": list(TERMINAL)}
                moved = roles[WORKER].execute(MOVE, move).rowcount
        except Denied as error:
            assert "row-level security policy" in str(error)  # noqa: PT017
        except psycopg.errors.UniqueViolation:
            moved = 1  # two of one step in flight: allowed, and stopped elsewhere
        expected = (1 if target in targets else None) if source in sources else 0
        assert moved == expected, (source, target)


def test_a_worker_sees_the_companies_that_are_in_flight(url: str) -> None:
    """And of a batch's own rows those that are, of that batch."""
    with psycopg.connect(granted(url), autocommit=True) as owner:
        owner.execute(
            "INSERT INTO batches (name, blueprint) VALUES ('b', '[\"a\"]'), ('c', '[\"a\"]')"
        )
        owner.execute("INSERT INTO companies (key) VALUES ('one'), ('two')")
        owner.execute("INSERT INTO batch_companies SELECT b.id, c.id FROM batches b, companies c")
        seeded = {"step": "a", "status": "QUEUED", "terminal": list(TERMINAL)}
        owner.execute(ROW, seeded)
        with psycopg.connect(as_role(url, WORKER), autocommit=True) as worker:
            companies = "SELECT array_agg(id) FROM companies"
            seen = f"SELECT ({companies}), array_agg(batch_id) FROM batch_companies"
            assert worker.execute(seen).fetchall() == [([1], [1])]
            done = "UPDATE workflow_states SET status = 'FAILED', finished_at = now()"
            owner.execute(f"{done}, lease_expires_at = NULL")
            assert worker.execute(seen).fetchall() == [(None, None)]


def test_a_reader_whom_the_owner_lets_in_sees_every_row(
    roles: dict[str, psycopg.Connection[Any]],
) -> None:
    """Row level security is there for the worker alone: a dashboard's role does not go blind."""
    owner = roles["owner"]
    with owner.transaction(force_rollback=True):
        owner.execute("CREATE ROLE dashboard")
        owner.execute("GRANT SELECT ON workflow_states TO dashboard")
        owner.execute("SET LOCAL ROLE dashboard")
        assert owner.execute("SELECT count(*) FROM workflow_states").fetchall() == [(len(Status),)]
