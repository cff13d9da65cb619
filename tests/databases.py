"""Databases for tests: migrated copies, and the next one is made while a test runs."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import psycopg

# What a killed server would lose is not missed, and a copy is a checkpoint: pages whole after each.
SETTINGS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
)


class Databases:
    """Copies of the database that a migrated server's URL names, until `close`."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._admin = psycopg.connect(server.replace("/tracer?", "/postgres?"), autocommit=True)
        for setting in SETTINGS:
            self._run(f"ALTER SYSTEM SET {setting}")
        self._run("SELECT pg_reload_conf()")
        psycopg.connect(server).close()  # it leaves a file of the catalogs, which copies have too
        # Nobody connects to this one, so that it can be copied at any time.
        self._run("CREATE DATABASE pristine TEMPLATE tracer STRATEGY FILE_COPY")
        self._run("ALTER DATABASE pristine ALLOW_CONNECTIONS false")
        self._names = (f"test_{number}" for number in count(1))
        self._thread = ThreadPoolExecutor(1, "databases")
        self._next = self._thread.submit(self._make)
        self._drops: list[Future[None]] = []

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a copy that lasts for the length of the block."""
        name = self._next.result()
        self._next = self._thread.submit(self._make)
        try:
            yield self._server.replace("/tracer?", f"/{name}?")
        finally:
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            self._drops.append(self._thread.submit(self._run, drop))

    def close(self) -> None:
        """Return once all of them are gone."""
        self._thread.shutdown()
        for drop in self._drops:
            drop.result()
        self._admin.close()

    def _make(self) -> str:
        # 16 ms of CPU with its DROP; WAL_LOG, whose pages stay in the buffers, takes 25.
        name = next(self._names)
        self._run(f"CREATE DATABASE {name} TEMPLATE pristine STRATEGY FILE_COPY")
        return name

    def _run(self, statement: str) -> None:
        self._admin.execute(statement.encode())
