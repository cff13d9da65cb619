"""The roles on a server whose owner is no superuser, with passwords asked for, as hosts have it."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.contract.errors import WorkFailed
from reconciler.contract.grants import CONDUCTOR, OPERATOR, ROLES, WORKER
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.local.postgres.install import locate
from reconciler.local.postgres.reaper import Cluster
from reconciler.schema.role_urls import role_url
from reconciler.tick import tick
from tests.scratch import make_scratch
from tests.terminal import SEED, Terminal
from tests.tiers import all_but
from tests.world import STEPS, Scripted, work

DEBIAN = Path("/usr/lib/postgresql")
OTHERS = sorted(p.parent.name for p in DEBIAN.glob("*/bin") if p.is_dir())
SERVERS = all_but(["embedded"], ["embedded", *OTHERS])
PASSWORD = "let me in: @/%"


@dataclass(frozen=True)
class Server:
    """A server of one version; `owner` owns a database on it and may make roles."""

    admin: psycopg.Connection[Any]
    port: int

    def url(self, database: str, user: str = "owner") -> str:
        place = f"postgresql://me@127.0.0.1:{self.port}/{database}"
        return role_url(place, "me", user, PASSWORD)

    def database(self, name: str) -> str:
        self.admin.execute(f"CREATE DATABASE {name} OWNER owner".encode())
        return self.url(name)


def start(cluster: Cluster, home: Path, port: int) -> None:
    """Run it on loopback, where it asks for passwords, and at a socket, where it does not."""
    auth = ("--username=admin", "--auth-local=trust", "--auth-host=scram-sha-256")
    options = f"-k {home} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c log_statement=all"
    for program, *arguments in (
        ("initdb", *auth, "--encoding=UTF8", "--no-sync"),
        ("pg_ctl", "start", "-w", "-l", str(home / "log"), "-o", options),
    ):
        code = cluster.run(program, *arguments, output=subprocess.DEVNULL).returncode
        assert code == 0, program


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    home = make_scratch("tracer-owner-")
    cluster = locate(home)._replace(data=home / "data")
    if request.param != "embedded":
        cluster = cluster._replace(binaries=DEBIAN / request.param / "bin")
    if cluster.account:
        os.chown(home, *cluster.account)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start(cluster, home, port)
    place = f"postgresql://admin@/postgres?host={home}&port={port}"
    try:
        with psycopg.connect(place, autocommit=True) as admin:
            make = sql.SQL("CREATE ROLE owner LOGIN CREATEROLE CREATEDB NOSUPERUSER PASSWORD {}")
            admin.execute(make.format(PASSWORD))
            yield Server(admin, port)
        log = (home / "log").read_text()
        assert "CREATE ROLE" in log
        assert not re.search(r"PASSWORD '(?!SCRAM-SHA-256)(?!let me in)", log)
    finally:
        cluster.run("pg_ctl", "stop", "-m", "immediate", output=subprocess.DEVNULL)
        shutil.rmtree(home)


@pytest.fixture
def tracer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.setenv("TRACER_HOME", str(tmp_path / "home"))
    return Terminal(capfd)


def urls(path: Path) -> dict[str, str]:
    """The file's URLs by role."""
    found = re.findall(r"^\w+?_DATABASE_URL='(postgresql://(\w+):.*)'$", path.read_text(), re.M)
    return {role: url for url, role in found}


def test_an_owner_who_is_no_superuser_makes_the_roles_and_each_does_its_part(
    server: Server, tracer: Terminal, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.database("whole"))
    tracer("db", "upgrade")
    tracer("db", "roles", "--urls", str(tmp_path / "roles.env"))
    assert tracer.json("db", "roles")["wrong"] == []
    by_role = urls(tmp_path / "roles.env")
    assert set(by_role) == set(ROLES)

    monkeypatch.setenv("DATABASE_URL", by_role[OPERATOR])
    assert tracer.json("seed", file, *SEED, "--name", "b")["companies_new"] == 2
    conductor = Store.connect(by_role[CONDUCTOR])
    with conductor, WorkerStore.connect(by_role[WORKER]) as worker:
        for step in ("normalize", "step_a", "normalize"):
            tick(conductor, Scripted(), conductor.now())
            work(worker, STEPS[step], [1, 2])
    found = tracer.json("inspect", "b")
    assert (found["status"], found["steps"][1]["COMPLETED"]) == ("FINISHED", 2)
    assert len(tracer("export", "b").splitlines()) == 3
    tracer("batches")
    wrong = server.url("whole", WORKER)
    monkeypatch.setenv("DATABASE_URL", wrong)
    tracer("batches", code=3)
    assert f'password authentication failed for user "{WORKER}"' in " ".join(tracer.err.split())


def test_a_second_database_shares_the_roles_and_keeps_their_passwords(
    server: Server, tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles are the whole server's, and grants a database's."""
    passwords = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'tracer%'"
    monkeypatch.setenv("DATABASE_URL", server.database("first"))
    tracer("db", "upgrade")
    tracer("db", "roles", "--urls", str(tmp_path / "roles.env"))
    before = server.admin.execute(passwords).fetchall()
    monkeypatch.setenv("DATABASE_URL", server.database("second"))
    tracer("db", "upgrade")
    tracer("db", "roles")
    assert server.admin.execute(passwords).fetchall() == before
    place = urls(tmp_path / "roles.env")[WORKER].replace("/first", "/second")
    WorkerStore.connect(place).close()


def test_who_did_not_make_the_roles_grants_and_cannot_set_passwords(
    server: Server, tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", server.database("one_more"))
    tracer("db", "upgrade")
    tracer("db", "roles")
    server.admin.execute(sql.SQL("CREATE ROLE plain LOGIN PASSWORD {}").format(PASSWORD))
    server.admin.execute("CREATE DATABASE plain OWNER plain")
    monkeypatch.setenv("DATABASE_URL", server.url("plain", "plain"))
    tracer("db", "upgrade")
    tracer("db", "roles")
    tracer("db", "roles", "--urls", str(tmp_path / "roles.env"), code=2)
    assert "; the role that made Tracer's roles may (" in " ".join(tracer.err.split())
    assert not (tmp_path / "roles.env").exists()
    monkeypatch.setattr("reconciler.schema.roles.ROLES", (*ROLES, "tracer_fourth"))
    tracer("db", "roles", code=2)
    assert "Run `CREATE ROLE tracer_fourth LOGIN`" in " ".join(tracer.err.split())


def test_who_reads_for_long_holds_the_policies_up_and_is_named(
    server: Server, tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.database("busy")
    monkeypatch.setenv("DATABASE_URL", url)
    tracer("db", "upgrade")
    with psycopg.connect(url) as reader:
        reader.execute("DROP POLICY IF EXISTS worker_moves ON workflow_states")
        reader.commit()
        reader.execute("SELECT count(*) FROM workflow_states")
        monkeypatch.setattr(
            "reconciler.schema.roles.queries.POLICY_WAIT", "SET LOCAL lock_timeout = '50ms'"
        )
        tracer("db", "roles", code=WorkFailed.exit_code)
    assert "another statement reads workflow_states" in " ".join(tracer.err.split())


def test_the_roles_find_a_schema_that_only_the_owner_is_set_to(
    server: Server, tracer: Terminal, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.database("elsewhere")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Leads, all"')
        owner.execute('ALTER ROLE owner IN DATABASE elsewhere SET search_path TO "Leads, all"')
    monkeypatch.setenv("DATABASE_URL", url)
    tracer("db", "upgrade")
    tracer("db", "roles", "--urls", str(tmp_path / "roles.env"))
    by_role = urls(tmp_path / "roles.env")
    monkeypatch.setenv("DATABASE_URL", by_role[OPERATOR])
    assert tracer.json("seed", file, *SEED, "--name", "b")["companies_new"] == 2
    with Store.connect(by_role[CONDUCTOR]) as conductor, WorkerStore.connect(by_role[WORKER]) as w:
        tick(conductor, Scripted(), conductor.now())
        assert work(w, STEPS["normalize"], [1, 2]).completed == 2
