"""`tracer db roles`: made once, fixed as often as one likes, and said in sentences."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.contract.grants import CONDUCTOR, OPERATOR, ROLES, WORKER
from reconciler.schema.roles import sync_roles
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.roles import as_role, granted
from tests.terminal import SEED, Terminal

STATE = """
SELECT (SELECT jsonb_object_agg(oid::regclass, relacl::text) FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'results'::regnamespace)),
    (SELECT jsonb_agg(attacl::text ORDER BY attrelid, attnum) FROM pg_attribute
     WHERE attacl IS NOT NULL AND attrelid > 16384),
    (SELECT jsonb_object_agg(polname, oid) FROM pg_policy),
    (SELECT jsonb_object_agg(rolname, rolpassword) FROM pg_authid WHERE rolname LIKE 'tracer%')
"""
OWNER_GRANTS = "Grant as tracer, which owns the tables: run `tracer db roles`"


@pytest.fixture
def owner(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def use(monkeypatch: pytest.MonkeyPatch, url: str, role: str) -> None:
    monkeypatch.setenv("DATABASE_URL", as_role(url, role))


def test_a_second_run_changes_nothing(tracer: Terminal, owner: psycopg.Connection[Any]) -> None:
    tracer("db", "roles")
    before = owner.execute(STATE).fetchone()
    tracer("db", "roles")
    assert [line.split(":")[0] for line in tracer.err.splitlines()] == list(ROLES)
    tracer("db", "upgrade")
    assert owner.execute(STATE).fetchone() == before


def test_what_was_changed_by_hand_is_mended(
    tracer: Terminal, owner: psycopg.Connection[Any]
) -> None:
    tracer("db", "roles")
    tracer("db", "roles")
    columns = "SELECT jsonb_object_agg(polname, pg_get_expr(polqual, polrelid)) FROM pg_policy"
    policies = owner.execute(columns).fetchone()
    owner.execute(f"REVOKE ALL ON workflow_states FROM {CONDUCTOR}".encode())
    owner.execute(f"GRANT SELECT, DELETE ON companies TO {CONDUCTOR}".encode())
    owner.execute(f"GRANT UPDATE (position) ON workflow_states TO {WORKER}".encode())
    owner.execute("ALTER POLICY worker_moves ON workflow_states USING (true)")
    owner.execute("DROP POLICY as_granted ON workflow_states")
    owner.execute("ALTER TABLE workflow_states DISABLE ROW LEVEL SECURITY")
    tracer("db", "roles")
    ask = "SELECT has_column_privilege(%s, %s, %s, %s)"
    for who, table, column, privilege, may in (
        (CONDUCTOR, "workflow_states", "status", "UPDATE", True),
        (CONDUCTOR, "companies", "attributes", "SELECT", False),
        (WORKER, "workflow_states", "position", "UPDATE", False),
    ):
        assert owner.execute(ask, (who, table, column, privilege)).fetchone() == (may,)
    assert owner.execute(columns).fetchone() == policies
    secured = "SELECT relrowsecurity FROM pg_class WHERE oid = 'workflow_states'::regclass"
    assert owner.execute(secured).fetchone() == (True,)


def test_mending_waits_for_nobody_where_all_is_well(
    url: str, owner: psycopg.Connection[Any]
) -> None:
    """An export may read for minutes: were the policies made anew, every tick would queue up."""
    granted(url)
    with owner.transaction():
        owner.execute("SELECT count(*) FROM workflow_states")
        sync_roles(url)


def test_new_tables_and_columns_are_granted_by_the_sync(
    tracer: Terminal, url: str, owner: psycopg.Connection[Any]
) -> None:
    tracer("db", "roles")
    owner.execute("DROP TABLE results.step_b")
    owner.execute("ALTER TABLE results.step_a DROP COLUMN attribute_count")
    tracer("steps", "sync")
    for role, statement in (
        (WORKER, "INSERT INTO results.step_b (company_id, greeting) VALUES (1, 'Hello')"),
        (WORKER, "UPDATE results.step_a SET attribute_count = 1"),
        (OPERATOR, "SELECT greeting FROM results.step_b"),
        (OPERATOR, "SELECT attribute_count FROM results.step_a"),
    ):
        with psycopg.connect(as_role(url, role), autocommit=True) as connection:
            connection.execute(statement.encode())


def test_urls_go_to_a_file_of_ones_own_and_open_the_database(
    tracer: Terminal, tmp_path: Path, owner: psycopg.Connection[Any]
) -> None:
    path = tmp_path / "roles.env"
    path.write_text("old")
    path.chmod(0o644)
    said = tracer("db", "roles", "--urls", str(path)) + tracer.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir() if "roles" in entry.name] == ["roles.env"]
    lines = re.findall(
        r"^([A-Z]+)_DATABASE_URL='(postgresql://(\w+):([\w-]+)@.*)'$", path.read_text(), re.M
    )
    assert [f"tracer_{side.lower()}" for side, *_ in lines] == list(ROLES)
    for _, place, role, password in lines:
        assert password not in said
        with psycopg.connect(place) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
    kept = owner.execute(STATE).fetchone()
    assert "SCRAM-SHA-256" in str(kept)
    tracer("db", "roles")
    assert owner.execute(STATE).fetchone() == kept
    shown = tracer("db", "roles", "--urls", "-")
    assert shown != path.read_text()
    assert len(shown.splitlines()) == 3
    assert owner.execute(STATE).fetchone() != kept


def test_a_host_that_hashes_passwords_itself_is_given_them(
    tracer: Terminal, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neon takes no verifier."""
    tracer("db", "roles")
    execute = psycopg.Connection.execute

    def refuse(self: Any, query: Any, *rest: Any, **options: Any) -> Any:
        text = query.as_string(self) if isinstance(query, sql.Composable) else str(query)
        if "PASSWORD 'SCRAM-SHA-256" in text:
            raise psycopg.InternalError("Neon only supports being given plaintext passwords")
        return execute(self, query, *rest, **options)

    before = owner.execute(STATE).fetchone()
    monkeypatch.setattr(psycopg.Connection, "execute", refuse)
    tracer("db", "roles", "--urls", "-")
    assert owner.execute(STATE).fetchone() != before


def test_a_file_that_cannot_be_written_changes_no_password(
    tracer: Terminal, tmp_path: Path, owner: psycopg.Connection[Any]
) -> None:
    tracer("db", "roles")
    before = owner.execute(STATE).fetchone()
    tracer("db", "roles", "--urls", str(tmp_path / "nowhere" / "file"), code=2)
    assert "Cannot write" in tracer.err
    tracer("db", "roles", "--urls", "-", "--json", code=2)
    assert owner.execute(STATE).fetchone() == before


def test_what_a_role_may_beyond_its_grants_is_said(
    tracer: Terminal, owner: psycopg.Connection[Any]
) -> None:
    tracer("db", "roles")
    owner.execute("GRANT SELECT ON companies TO PUBLIC")
    found = tracer.json("db", "roles", code=1)
    assert [line.split()[:5] for line in found["wrong"]] == [
        [CONDUCTOR, "may", "SELECT", "public.companies", "without"],
        [WORKER, "may", "SELECT", "public.companies", "without"],
    ]
    assert found["roles"][0] == {"role": CONDUCTOR, "created": False}


@pytest.mark.parametrize(
    ("role", "command", "says"),
    [
        (WORKER, ("batches",), f"{WORKER} may not do this; {OPERATOR} may ("),
        (CONDUCTOR, ("seed", "FILE", *SEED), f"; {OPERATOR} may ("),
        (CONDUCTOR, ("export", "b"), f"; {OPERATOR} may ("),
        (OPERATOR, ("reconcile", "--once"), f"; {CONDUCTOR} may ("),
        (WORKER, ("reconcile", "--once"), f"; {CONDUCTOR} may ("),
        (OPERATOR, ("steps", "sync"), f"{OPERATOR} may not do this; the owner may ("),
        (OPERATOR, ("db", "roles"), OWNER_GRANTS),
        (CONDUCTOR, ("db", "roles"), OWNER_GRANTS),
    ],
)
def test_the_wrong_role_is_told_in_a_sentence(
    tracer: Terminal,
    tmp_path: Path,
    url: str,
    file: str,
    owner: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    command: tuple[str, ...],
    says: str,
) -> None:
    tracer("db", "roles")
    tracer("seed", file, *SEED, "--name", "b")
    owner.execute("DROP TABLE results.step_b")
    use(monkeypatch, url, role)
    with listening(tmp_path / "home"):
        tracer(*(file if part == "FILE" else part for part in command), code=2)
    assert says in " ".join(tracer.err.split())


def test_an_upgrade_that_is_needed_is_the_owners(
    tracer: Terminal, url: str, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer("db", "roles")
    use(monkeypatch, url, OPERATOR)
    tracer("db", "upgrade")  # up to date: there is nothing that it may not
    tracer("db", "status")
    owner.execute("UPDATE tracer_version SET version_num = '0001'")
    tracer("db", "upgrade", code=2)
    assert "; the owner may (" in " ".join(tracer.err.split())


@pytest.mark.parametrize("role", [CONDUCTOR, OPERATOR])
def test_doctor_says_who_one_is(
    tracer: Terminal, url: str, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    tracer("db", "roles")
    use(monkeypatch, url, role)
    findings = {f["part"]: f for f in tracer.json("doctor", code=1)}
    assert findings["database"]["says"].endswith(f", as {role}")
    assert all(findings[part]["ok"] for part in ("database", "schema", "steps"))
