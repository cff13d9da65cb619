"""Looks at tables that someone else has locked: they say who, and wait for nobody."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from reconciler.operator.read_only import ReadOnlyStore, ViewStore
from tests.reconciler.operator.diagnosis.breaking import locked
from tests.reconciler.operator.diagnosis.explaining import told
from tests.terminal import Terminal
from tests.world import World


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadOnlyStore, "patience_s", 0.1)
    monkeypatch.setattr(ViewStore, "patience_s", 0.2)


def migrate(url: str) -> None:
    """Lock a table whole, and let it go."""
    with locked(url, "polling"):
        pass


def test_a_table_that_is_locked_is_not_waited_for(tracer: Terminal, world: World, url: str) -> None:
    world.seed(1)
    for table in ("polling", "batches", "tracer_version"):
        with locked(url, table) as pid:
            tracer("explain", "batch", "company-0", code=3)
        assert f"{table} is locked by Postgres's process {pid}: let" in " ".join(tracer.err.split())
        assert f"pg_terminate_backend({pid})" in tracer.err
    assert told(tracer)["status"] == "PENDING"


VIEWS = {
    "batches": ["batches"],
    "inspect": ["inspect", "batch"],
    "watch": ["inspect", "batch", "--watch"],
    "a company": ["inspect", "--company", "company-0"],
    "history": ["history", "batch"],
    "export": ["export", "batch"],
    "report": ["report", "batch", "-o", "-"],
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_says_who_locks_what_it_reads(
    tracer: Terminal, world: World, url: str, view: str
) -> None:
    world.seed(1)
    with locked(url, "batches") as pid:
        tracer(*VIEWS[view], code=3)
    assert f"batches is locked by Postgres's process {pid}: let" in " ".join(tracer.err.split())


def test_steps_and_intervals_and_results_are_not_waited_for_either(
    tracer: Terminal, world: World, url: str
) -> None:
    world.seed(1)
    for table, command in (
        ("enrichment_registry", ["steps"]),
        ("polling", ["interval"]),
        ("results.normalized", ["export", "batch"]),
    ):
        with locked(url, table) as pid:
            tracer(*command, code=3)
        assert f"{table} is locked by Postgres's process {pid}: let" in " ".join(tracer.err.split())


def test_who_waits_for_a_lock_and_whom_for_are_both_said(
    tracer: Terminal, world: World, url: str
) -> None:
    """A migration waits for someone who reads, and everybody for the migration."""
    world.seed(1)
    with psycopg.connect(url) as reader, ThreadPoolExecutor(1) as threads:
        reader.execute("SELECT FROM polling")
        pid = reader.info.backend_pid
        migration = threads.submit(migrate, url)
        world.wait_for_blocked()
        tracer("explain", "batch", "company-0", code=3)
        reader.rollback()
        migration.result()
    assert f"process {pid}, " in tracer.err
