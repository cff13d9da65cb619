"""The sides of one database, each on one connection, and transactions that are held open.

What waits for one of these runs on a thread; Postgres says for whom it waits, and that
one is settled. So the order of everything is the one that was drawn, and no test hangs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.contract.database import Connection, Database, Row, connect
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.operator.store import OperatorStore

D = TypeVar("D", bound=Database)
PATIENCE_S = 0.002  # before Postgres is asked whether a statement waits

SETTINGS = """
max_attempts = 2, lease_s = 60, start_deadline_s = 60, backoff_s = 0, backoff_max_s = 0,
max_in_flight = 3, chunk_size = 2, enabled = true
"""
# Numbers begin anew too, so that a run that is replayed sees the same ones.
CLEAN = f"""
DELETE FROM batches; DELETE FROM companies; DELETE FROM throttles; DELETE FROM ticks;
DELETE FROM results.normalized; DELETE FROM results.step_a; DELETE FROM results.step_b;
DELETE FROM results.superseded;
SELECT setval('batches_id_seq', 1, false), setval('companies_id_seq', 1, false);
UPDATE enrichment_registry SET {SETTINGS};
UPDATE polling SET ticked_at = now()
"""


class OnlyConnection:
    """Stands where a side has its pool: a transaction that is open there stays open."""

    def __init__(self, url: str) -> None:
        self.only = connect(url)
        self.only.prepare_threshold = 1  # a few thousand runs of the same statements
        self.only.execute("SET plan_cache_mode = force_generic_plan; SET synchronous_commit = off")
        self.pid = self.only.info.backend_pid

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        yield self.only

    def close(self) -> None:
        self.only.close()


def side(kind: type[D], url: str) -> D:
    """A side whose every verb goes through one connection."""
    made = kind(url, 1, prepare=True)
    made._pool = OnlyConnection(url)  # type: ignore[assignment]
    return made


def line(of: Database) -> OnlyConnection:
    """The connection of a side that `side` made."""
    return of._pool  # type: ignore[return-value]


@dataclass(frozen=True)
class Held:
    """A verb that is done, in a transaction that is not over; `land` is told when it commits."""

    side: Database
    verbs: tuple[str, ...]
    may: Callable[[Any, Row | None], bool]
    land: Callable[[], None]
    commits: bool


class Sides:
    """Two conductors, two workers, two operators, and eyes that only read."""

    def __init__(self, url: str) -> None:
        self.stores = (side(Store, url), side(Store, url))
        self.workers = (side(WorkerStore, url), side(WorkerStore, url))
        self.operators = (side(OperatorStore, url), side(OperatorStore, url))
        self.eyes = side(OperatorStore, url)
        self.thread = ThreadPoolExecutor(1)

    def all(self) -> Sequence[Database]:
        return (*self.stores, *self.workers, *self.operators)

    def clean(self) -> None:
        """An empty world, whatever the last run left."""
        for one in self.all():
            line(one).only.rollback()
        line(self.eyes).only.execute(CLEAN)

    def close(self) -> None:
        self.thread.shutdown()
        for one in (*self.all(), self.eyes):
            one.close()

    def blockers(self, waiting: Database) -> set[int]:
        """The backends for which a side's statement waits."""
        found = self.eyes.rows("SELECT pg_blocking_pids(%(pid)s) AS pids", pid=line(waiting).pid)
        return set(found[0]["pids"])

    def run(
        self, by: Database, act: Callable[[], Any], held: list[Held], settle: Callable[[Held], None]
    ) -> Any:
        """What `act` returns; whoever it waits for is settled first."""
        if not held:
            return act()
        future: Future[Any] = self.thread.submit(act)
        try:
            while not wait([future], PATIENCE_S).done:
                pids = self.blockers(by)
                for one in [one for one in held if line(one.side).pid in pids][:1]:
                    settle(one)
        except BaseException:
            line(by).only.cancel_safe()
            wait([future])
            raise
        return future.result()
