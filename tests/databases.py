"""Databases for tests: migrated copies, and the next one is made while a test runs."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import psycopg

Fill = Callable[[str], object]  # given the URL of a database, puts something in it
# What a killed server would lose is not missed, and a copy is a checkpoint: pages whole after each.
SETTINGS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
)

# What nobody connects to can be copied at any time.
NOBODY = "ALTER DATABASE {} ALLOW_CONNECTIONS false"


class Databases:
    """Copies of the database that a migrated server's URL names, until `close`."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._admin = psycopg.connect(server.replace("/tracer?", "/postgres?"), autocommit=True)
        for setting in SETTINGS:
            self._run(f"ALTER SYSTEM SET {setting}")
        self._run("SELECT pg_reload_conf()")
        psycopg.connect(server).close()  # it leaves a file of the catalogs, which copies have too
        self._copy("tracer", "pristine")
        self._run(NOBODY.format("pristine"))
        self._filled: dict[Fill, str] = {}
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
            yield self._url(name)
        finally:
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            self._drops.append(self._thread.submit(self._run, drop))

    @contextmanager
    def filled(self, fill: Fill) -> Iterator[str]:
        """The same for a copy with all that `fill` puts in: it does so once."""
        if fill not in self._filled:
            self._filled[fill] = f"filled_{len(self._filled)}"
            self._copy("pristine", self._filled[fill])
            fill(self._url(self._filled[fill]))
            self._run(NOBODY.format(self._filled[fill]))
        name = f"copy_{next(self._names)}"
        self._copy(self._filled[fill], name)
        try:
            yield self._url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Return once all of them are gone."""
        self._thread.shutdown()
        for drop in self._drops:
            drop.result()
        self._admin.close()

    def _make(self) -> str:
        # 16 ms of CPU with its DROP; WAL_LOG, whose pages stay in the buffers, takes 25.
        name = next(self._names)
        self._copy("pristine", name)
        return name

    def _copy(self, template: str, name: str) -> None:
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")

    def _url(self, name: str) -> str:
        return self._server.replace("/tracer?", f"/{name}?")

    def _run(self, statement: str) -> None:
        self._admin.execute(statement.encode())
