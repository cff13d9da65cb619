"""A system that is well, and the ways in which the tests of `tracer doctor` break one part."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg

from reconciler.contract.grants import ROLES
from reconciler.contract.settings import load_settings, workers_socket
from tests.roles import as_role, granted
from tests.standins.prefect_api import Scheduler
from tests.terminal import Terminal
from tests.world import World
from workers.host.server import Host, _Server, remove_socket


@dataclass(frozen=True)
class Well:
    """A system in which every part is as it should be, and what a test breaks of it."""

    tracer: Terminal
    world: World
    url: str
    prefect: Scheduler
    setenv: Callable[[str, str], None]
    end_host: Callable[[], None]

    def sql(self, statement: str) -> None:
        self.world.sql(statement)

    def findings(self, code: int) -> dict[str, Any]:
        """What doctor finds, by its parts."""
        return {found["part"]: found for found in self.tracer.json("doctor", code=code)}


@contextmanager
def listening(home: Path, lacking: str | None = None) -> Iterator[Callable[[], None]]:
    """A worker host without a worker process, that has not the step `lacking`; what is yielded ends
    it."""
    path = workers_socket(home)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    worker_host = Host("postgresql://unused", load_settings(), path.parent)
    worker_host._steps.pop(lacking, None)
    with _Server(path, worker_host) as host:
        serving = Thread(target=host.serve_forever, args=(0.01,))
        serving.start()

        def end() -> None:
            host.shutdown()
            serving.join()
            host.server_close()

        try:
            yield end
        finally:
            end()
            remove_socket(path)


@contextmanager
def mute(home: Path) -> Iterator[None]:
    """A worker host that was stopped: the system still takes connections for it."""
    path = workers_socket(home)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as host:
        host.bind(str(path))
        host.listen()
        yield
    remove_socket(path)


@contextmanager
def locked(url: str, table: str) -> Iterator[int]:
    """A session that has locked the table; its process in Postgres."""
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield connection.info.backend_pid


Break = Callable[[Well], AbstractContextManager[None]]  # and it is fixed again at the end


def sql(break_it: str, undo: str) -> Break:
    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        well.sql(break_it)
        try:
            yield
        finally:
            well.sql(undo)

    return broken


def prefect(**values: object) -> Break:
    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        for name, value in values.items():
            setattr(well.prefect, name, value)
        yield

    return broken


def env(name: str, value: str) -> Break:
    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        well.setenv(name, value)
        yield

    return broken


@contextmanager
def no_such_database(well: Well) -> Iterator[None]:
    well.setenv("DATABASE_URL", well.url.replace("/doctor?", "/gone?"))
    yield


@contextmanager
def no_host(well: Well) -> Iterator[None]:
    well.end_host()
    yield


@contextmanager
def a_silent_host(well: Well) -> Iterator[None]:
    well.end_host()
    with mute(load_settings().home):
        yield


@contextmanager
def a_host_of_other_steps(well: Well) -> Iterator[None]:
    well.end_host()
    with listening(load_settings().home, "normalize"):
        yield


def lock(table: str) -> Break:
    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        with locked(well.url, table):
            yield

    return broken


def stranger(*schemas: str) -> Break:
    """A login that is none of the three roles, and may look into these schemas."""

    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        well.sql("CREATE ROLE ro LOGIN")
        for schema in schemas:
            well.sql(f"GRANT USAGE ON SCHEMA {schema} TO ro")
            well.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO ro")
        well.setenv("DATABASE_URL", as_role(well.url, "ro"))
        yield
        well.sql("DROP OWNED BY ro")
        well.sql("DROP ROLE ro")

    return broken


def role(which: str, *taken: str) -> Break:
    """One of the three roles in DATABASE_URL, and what is taken from one before."""

    @contextmanager
    def broken(well: Well) -> Iterator[None]:
        granted(well.url)
        for privilege in taken:
            well.sql(f"REVOKE {privilege}")
        if which:
            well.setenv("DATABASE_URL", as_role(well.url, which))
        yield
        for one in ROLES:
            well.sql(f"DROP OWNED BY {one}")

    return broken


def renamed(table: str) -> Break:
    schema, _, name = table.rpartition(".")
    gone = f"{schema}.gone" if schema else "gone"
    return sql(f"ALTER TABLE {table} RENAME TO gone", f"ALTER TABLE {gone} RENAME TO {name}")


def column(table: str, name: str) -> Break:
    rename = f"ALTER TABLE {table} RENAME COLUMN"
    return sql(f"{rename} {name} TO gone", f"{rename} gone TO {name}")


def normalize(change: str) -> Break:
    row = "UPDATE enrichment_registry SET enabled = true, max_in_flight = 1000"
    return sql(f"UPDATE enrichment_registry SET {change} WHERE step_name = 'normalize'", row)


def blueprint(*steps: str) -> Break:
    write = "UPDATE batches SET blueprint = '{}'"
    return sql(write.format(json.dumps(steps)), write.format('["normalize"]'))


def ticked(when: str) -> Break:
    return sql(f"UPDATE polling SET ticked_at = {when}", "UPDATE polling SET ticked_at = now()")
