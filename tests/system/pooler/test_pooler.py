"""Everything works through PgBouncer in transaction mode, which is what hosted poolers are."""

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.database import behind_pooler, connect
from reconciler.contract.errors import Unreachable
from reconciler.contract.grants import ROLES
from reconciler.contract.revision import revision
from reconciler.contract.states import Status
from reconciler.contract.store import Store
from reconciler.contract.worker_store import Failure, WorkerStore
from reconciler.operator import export
from reconciler.operator.store import OperatorStore
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from tests.roles import role_world
from tests.system.pooler.pgbouncer import PASSWORD, PgBouncer, make_certificate, running
from tests.terminal import SEED, Terminal
from tests.world import STEPS, World
from workers.runtime.loading import load_steps
from workers.steps.normalize import Normalized

pytestmark = pytest.mark.proof
OFTEN = 12  # psycopg prepares a statement at its sixth execution
PREPARED = "SELECT count(*) AS n FROM pg_prepared_statements"


def directly(server: str, url: str) -> str:
    """The database of `url` without PgBouncer."""
    return server.replace("/tracer?", f"{urlsplit(url).path}?")


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_found_out(server: str, mode: str) -> None:
    with running(server, mode) as other, connect(other.url(server)) as through:
        assert behind_pooler(through)
    with connect(server) as connection:
        assert not behind_pooler(connection)


def test_statements_are_prepared_only_without_a_pooler(server: str, url: str) -> None:
    for place, prepared in ((url, 0), (directly(server, url), 1)):
        with Store.connect(place, 1) as first, Store.connect(place, 1) as second:
            for store in (first, second):
                for _ in range(OFTEN):
                    store.now()
                assert store.rows(PREPARED) == [{"n": prepared}]


def test_prepared_statements_would_fail_here(url: str) -> None:
    """What the detection is for: two clients, one server connection, one name."""
    for expected in (None, psycopg.errors.DuplicatePreparedStatement):
        with psycopg.connect(url, autocommit=True) as client, ExitStack() as stack:
            if expected:
                stack.enter_context(pytest.raises(expected))
            for _ in range(OFTEN):
                client.execute("SELECT now()")


def test_an_empty_database_is_migrated_and_synced_as_often_as_one_likes(
    server: str, bouncer: PgBouncer
) -> None:
    admin = server.replace("/tracer?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE untouched")
        place = bouncer.url("postgresql:///untouched")
        assert upgrade_schema(place) is None
        assert f"Step {next(iter(STEPS))} registered" in sync_steps(place, load_steps())
        for _ in range(3):
            assert upgrade_schema(place) == SCHEMA_REVISION
            assert sync_steps(place, load_steps()) == []
        with connect(place) as through:
            assert revision(through) == SCHEMA_REVISION
            assert through.execute(PREPARED).fetchone() == {"n": 0}
        connection.execute("DROP DATABASE untouched WITH (FORCE)")


def test_the_command_line_takes_a_batch_from_file_to_export(
    tracer: Terminal, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "EXPORT_ROWS", 1)  # the cursor is read in more than one go
    tracer("db", "upgrade")
    assert tracer.json("seed", file, *SEED, "--name", "b")["companies_new"] == 2
    tracer("reconcile", "--until-done")
    progress = tracer.json("inspect", "b")
    assert [step["COMPLETED"] for step in progress["steps"]] == [2, 2]
    assert "COMPLETED" in tracer("inspect", "b", "--company", "66740")
    assert len(tracer("export", "b").splitlines()) == 3


def test_every_verb_of_a_worker(world: World) -> None:
    world.seed(3)
    world.tick()
    well, ill, dead = attempts = world.worker.begin("normalize", world.ids())
    assert world.worker.heartbeat(attempts) == {("normalize", i) for i in world.ids()}
    assert world.worker.complete([well], [Normalized()]) == {("normalize", well.company.id)}
    failures = [Failure("moody"), Failure("hopeless", Status.FAILED)]
    assert world.worker.fail([ill, dead], failures) == {
        ("normalize", attempt.company.id) for attempt in (ill, dead)
    }
    assert world.worker.heartbeat([well, dead]) == set()
    assert world.tick().retried == 1
    assert world.statuses() == {"COMPLETED": 1, "PENDING": 1, "FAILED": 1}


def test_a_certificate_can_be_asked_for(url: str, bouncer: PgBouncer) -> None:
    asked = bouncer.url(url, sslmode="verify-full", sslrootcert=str(bouncer.certificate))
    with OperatorStore.connect(asked) as operator:
        (found,) = operator.rows("SELECT current_setting('application_name') AS name")
        assert found == {"name": "tracer_operator"}
        with operator.transaction() as connection:
            assert connection.pgconn.ssl_in_use


def test_a_wrong_certificate_is_said_in_a_sentence(
    url: str, bouncer: PgBouncer, tmp_path: Path, tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificate(tmp_path, "other")
    asked = bouncer.url(url, sslmode="verify-full", sslrootcert=str(other))
    with pytest.raises(Unreachable):
        WorkerStore.connect(asked)
    monkeypatch.setenv("DATABASE_URL", asked)
    tracer("batches", code=3)
    said = " ".join(tracer.err.split())
    assert f"at 127.0.0.1:{bouncer.port}: SSL error: certificate verify failed. " in said
    assert "set sslrootcert to the file of the authority" in said
    assert PASSWORD not in said


def test_every_role_comes_through_it(url: str) -> None:
    with role_world(url) as world:
        world.seed(30, ("normalize", "step_a"))
        for step in ("normalize", "step_a"):
            world.tick()
            assert world.work(step).completed == 30
        assert world.tick().finished == 1
        sides = (world.store, world.worker, world.operator)
        users = [side.rows("SELECT current_user AS name")[0]["name"] for side in sides]
        assert users == list(ROLES)
