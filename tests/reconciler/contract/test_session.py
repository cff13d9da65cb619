"""What a host or a role is set to does not get in the way, and is no outage."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psycopg
import pytest

from reconciler.contract.session import Session, TakesNoWrites
from reconciler.contract.store import Store
from reconciler.local.postgres.supervisor import acquire, stop
from reconciler.operator.batch import BatchView
from reconciler.operator.export import read_companies
from reconciler.operator.read_only import ViewStore
from reconciler.operator.steering import retry
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from tests.scratch import make_scratch
from tests.terminal import Terminal
from tests.world import STEPS, Scripted, World

SLOW = "SELECT pg_sleep(0.4)"


def set_for_all(url: str, *settings: str) -> None:
    """Set the database so, for connections from now on."""
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as owner:
        for setting in settings:
            owner.execute(f"ALTER DATABASE {name} SET {setting}".encode())


@pytest.mark.parametrize("limit", ["statement_timeout", "transaction_timeout"])
def test_a_limit_on_statements_does_not_end_those_of_tracer(url: str, limit: str) -> None:
    set_for_all(url, f"{limit} = '150ms'")
    with Store.connect(url) as store:
        assert store.session.is_limited
        store.rows(SLOW)
        with store.transaction() as connection:
            connection.execute(SLOW)
            connection.execute(SLOW)


def test_a_limit_that_is_set_later_is_lifted_from_the_next_try_on(url: str) -> None:
    with psycopg.connect(url) as admin, Store.connect(url, max_size=1) as store:
        store.now()
        set_for_all(url, "statement_timeout = '150ms'")
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(psycopg.errors.QueryCanceled):
            store.rows(SLOW)
        store.rows(SLOW)


def test_a_long_limit_is_lifted_for_transactions_alone(url: str) -> None:
    set_for_all(url, "statement_timeout = '2min'")
    with Store.connect(url) as store:
        show = "SELECT current_setting('statement_timeout') AS limit"
        assert store.rows(show) == [{"limit": "2min"}]
        with store.transaction() as connection:
            assert connection.execute(show).fetchone() == {"limit": "0"}
        assert store.session.warning is None


def test_who_only_looks_keeps_to_the_limit_and_an_export_does_not(world: World, url: str) -> None:
    world.seed(2)
    set_for_all(url, "statement_timeout = '150ms'")
    with ViewStore.connect(url) as store:
        with pytest.raises(psycopg.errors.QueryCanceled):
            store.rows(SLOW)
        batch = world.operator.batch("batch")
        tables = {"normalize": STEPS["normalize"].table.__table__}  # type: ignore[attr-defined]
        with locked_for_a_while(url, "batch_companies"):
            assert len(list(read_companies(store, batch, tables))) == 2


@contextmanager
def locked_for_a_while(url: str, table: str) -> Iterator[None]:
    """Another program has the table for longer than the limit."""
    with psycopg.connect(url) as other:
        other.execute(f"LOCK TABLE {table}".encode())
        release = Thread(target=lambda: (time.sleep(0.4), other.rollback()))
        release.start()
        yield
        release.join()


def test_a_large_batch_is_seeded_worked_and_retried_under_a_short_limit(
    world: World, url: str
) -> None:
    set_for_all(url, "statement_timeout = '150ms'")
    with OperatorStore.connect(url) as operator, Store.connect(url) as store:
        small = World(store, world.worker, operator, Scripted())
        small.seed(40_000)
        lines: list[str] = []

        def stop_at(line: str) -> None:
            lines.append(line)
            if line.startswith("claimed"):
                stop.set()

        stop = Event()
        operator.set_polling(poll_s=0.01)
        poll(store, small.spawner, stop, stop_at)
        assert lines[0] == (
            "The database ends what takes longer than 150 ms: Tracer lifts this limit for its own "
            "statements."
        )
        assert not [line for line in lines if "away" in line]
        small.sql(
            "UPDATE workflow_states SET status = 'FAILED', lease_expires_at = NULL,"
            " finished_at = now(), error = 'x', error_kind = 'raised'"
        )
        found: BatchView = operator.batch("batch")
        assert retry(operator, found) == 40_000


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_another_isolation_level_is_not_that_of_tracer(world: World, url: str, level: str) -> None:
    """Two loops: a claim that has waited for the other's must see what it took."""
    set_for_all(url, f"default_transaction_isolation = '{level}'")
    show = "SELECT current_setting('transaction_isolation') AS level"
    with Store.connect(url) as one, Store.connect(url) as other:
        assert one.rows(show) == [{"level": "read committed"}]
        with one.transaction() as connection:
            assert connection.execute(show).fetchone() == {"level": "read committed"}
        world.seed(400)
        lines: list[str] = []
        stop = Event()
        world.operator.set_polling(poll_s=0.01)
        loops = [
            Thread(
                target=poll,
                args=(store, Scripted(), stop, lines.append),
                kwargs={"until_done": True},
            )
            for store in (one, other)
        ]
        for loop in loops:
            loop.start()
        for _ in range(200):
            world.work()
            if world.statuses() == {"COMPLETED": 400}:
                break
            time.sleep(0.01)
        stop.set()
        for loop in loops:
            loop.join()
    assert world.statuses() == {"COMPLETED": 400}
    assert not [line for line in lines if "away" in line or "ended" in line]


def test_a_connection_that_the_server_has_ended_while_idle_is_replaced(url: str) -> None:
    set_for_all(url, "idle_session_timeout = '200ms'")
    with Store.connect(url) as store:
        for _ in range(3):
            time.sleep(0.4)
            assert store.beat().now


def test_reconcile_begins_where_idle_sessions_are_ended(tracer: Terminal, url: str) -> None:
    """Its worker host takes a second to start."""
    set_for_all(url, "idle_session_timeout = '300ms'")
    tracer("reconcile", "--once")


def test_a_read_only_database_is_named(tracer: Terminal, url: str, world: World, file: str) -> None:
    world.seed(1)
    set_for_all(url, "default_transaction_read_only = on")
    for command in (["pause", "batch"], ["seed", file, "--blueprint", "normalize"]):
        tracer(*command, code=3)
        says = " ".join(tracer.err.split())
        assert "is read-only: default_transaction_read_only is on" in says
        assert "went away" not in says


@pytest.fixture
def standby() -> Iterator[str]:
    """The URL of a server that follows another one."""
    first, second = make_scratch("tracer-first-"), make_scratch("tracer-second-")
    try:
        upgrade_schema(url := acquire(first))
        sync_steps(url, STEPS)
        stop(first)
        data, copy = (first / "postgres").resolve(), second / "postgres"
        shutil.copytree(data, copy)
        (copy / "standby.signal").touch()
        for path in (copy, *copy.rglob("*")):
            os.chown(path, data.stat().st_uid, data.stat().st_gid)
        yield acquire(second)
    finally:
        for home in (first, second):
            stop(home)
            shutil.rmtree(home)


def test_a_standby_is_named(
    tracer: Terminal, standby: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", standby)
    for command in (["interval", "pause"], ["seed", file, "--blueprint", "normalize"]):
        tracer(*command, code=3)
        says = " ".join(tracer.err.split())
        assert "is read-only: it is a standby. Name the server that writes in DATABASE_URL" in says


def test_the_session_says_what_is_unusual() -> None:
    assert not Session().spoils_statements
    assert not Session(120_000).spoils_statements
    assert Session(60).spoils_statements
    assert Session(isolation="serializable").spoils_statements
    assert issubclass(TakesNoWrites, psycopg.OperationalError)
