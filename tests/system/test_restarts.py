"""Postgres is killed and comes back under a batch: two lines per program, or four at most."""

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from reconciler.contract.settings import workers_socket
from reconciler.contract.store import Store
from reconciler.local.postgres import supervisor
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.poll import poll
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from reconciler.spawners.local import LocalSpawner
from tests.hosts import hosting
from tests.scratch import make_scratch
from tests.world import wait_until
from workers.runtime.loading import load_steps

AWAY_S = 2.5
COMPANIES = 30
SAID = r"^\d\S+ \d\S+ (\S+) (.*)$"  # in a worker process's log: who, and what
GONE, BACK = "The database is away, waiting for it: ", "The database is back"


@pytest.fixture
def home() -> Iterator[Path]:
    """A Postgres of the test's own, which it may kill."""
    path = make_scratch("tracer-restarts-")
    url = supervisor.acquire(path)
    upgrade_schema(url)
    sync_steps(url, load_steps())
    yield path
    supervisor.stop(path)
    shutil.rmtree(path)


def kill_postgres(home: Path) -> None:
    """As the kernel does when memory is short: the backends notice, and nobody says goodbye."""
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or not supervisor.is_running(home))


def restart_immediately(home: Path) -> None:
    """SIGQUIT is what `pg_ctl restart -m immediate` sends: backends are told, and end at once."""
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not supervisor.is_running(home))


@contextmanager
def logged(home: Path, url: str) -> Iterator[Path]:
    """A worker host of one process; gives the file of what they say."""
    said = home / "workers.log"
    with said.open("wb") as output, hosting(home, url, stdout=output, stderr=output):
        yield said


@contextmanager
def polling(home: Path, url: str) -> Iterator[list[str]]:
    """A loop on a thread; gives the lines that it logs."""
    stop, lines = Event(), list[str]()
    with Store.connect(url) as store:
        spawner = LocalSpawner(workers_socket(home))
        loop = Thread(target=poll, args=(store, spawner, stop, lines.append))
        loop.start()
        yield lines
        stop.set()
        loop.join()


def completed(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM workflow_states WHERE status = 'COMPLETED'"
        ).fetchone()
    return row[0] if row else 0


def finished(url: str) -> bool:
    with psycopg.connect(url) as connection:
        running = connection.execute("SELECT true FROM batches WHERE status = 'RUNNING'")
        return not running.fetchall()


def seed(url: str) -> None:
    rows = [(i, f"company-{i}", f"Company {i}", None, {}) for i in range(COMPANIES)]
    with OperatorStore.connect(url) as operator:
        seed_batch(operator, rows, name="batch", blueprint=["step_a", "step_b"], columns=[])
        for step in ("step_a", "step_b"):
            operator.set_step(step, {"lease_s": 2, "backoff_s": 0.2})
        operator.set_polling(poll_s=0.2, idle_s=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="kills a server by its pid")
@pytest.mark.parametrize(
    "end", [kill_postgres, pytest.param(restart_immediately, marks=pytest.mark.proof)]
)
def test_a_batch_outlives_postgres_and_nothing_is_done_again(
    end: Callable[[Path], None], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = supervisor.acquire(home)
    seed(url)
    with caplog.at_level(logging.INFO), logged(home, url) as said, polling(home, url) as lines:
        wait_until(lambda: completed(url) > 5)
        end(home)
        wait_until(lambda: any(line.startswith(GONE) for line in lines))
        Event().wait(AWAY_S)
        assert supervisor.acquire(home) == url
        wait_until(lambda: finished(url))
    assert completed(url) == 2 * COMPANIES
    with psycopg.connect(url) as connection:
        attempts = connection.execute("SELECT DISTINCT attempt FROM workflow_states").fetchall()
    assert attempts == [(1,)], "the leases were over, and workers wrote before a tick looked"
    assert [line for line in lines if "database" in line][1:] == [BACK]
    text = said.read_text()
    assert "Traceback" not in text
    told = [
        line
        for name, line in re.findall(SAID, text, re.MULTILINE)
        if "database" in line or name.startswith("psycopg")
    ]
    # A worker that has nothing to write meanwhile does not notice. Where Postgres ends its backends
    # one after the other, the last may still answer when the first has gone: that is a pair more.
    pairs = [[GONE, BACK] * n for n in range(3)]
    assert [line[: len(GONE)] for line in told] in pairs, text
