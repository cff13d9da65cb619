"""`tracer db`: where the database is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.local.postgres import supervisor
from tests.scratch import make_scratch
from tests.terminal import Terminal


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that Postgres's user can reach."""
    path = make_scratch("tracer-test-")
    yield path
    supervisor.release(path)
    supervisor.stop(path)
    shutil.rmtree(path)


def test_the_url_is_that_of_the_environment(tracer: Terminal, url: str) -> None:
    assert tracer("db", "url") == f"{url}\n"
    assert tracer.json("db", "url") == {"url": url}


def test_the_embedded_database_is_started_for_whom_its_url_is_printed(
    tracer: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("TRACER_HOME", str(home))
    made = supervisor.acquire(home)
    supervisor.stop(home)
    assert tracer("db", "url") == f"{made}\n"
    assert supervisor.is_running(home)


def test_asking_for_a_url_makes_no_database(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    tracer("db", "url", code=2)
    assert "There is no Tracer database in" in tracer.err
    assert not (tmp_path / "home").exists()
