"""`tracer plan` before there is a database: nothing is known, and none is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import planning
from tests.terminal import Terminal

FILE = "Name,Website\nAcme Inc.,acme.com\nOther,other.com\n"
ROUTE = ("--blueprint", "normalize,sample_technologies")


@pytest.fixture
def leads(tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file, where there is no database."""
    assert tracer
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("TRACER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,workers.sample.steps")
    path = tmp_path / "leads.csv"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
def scratch(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's database instead of one that is made and removed."""

    @contextmanager
    def made(steps: dict[str, object]) -> Iterator[tuple[Path, str]]:
        assert "sample_technologies" in steps
        yield tmp_path, url

    monkeypatch.setattr(planning, "scratch_database", made)


@pytest.mark.usefixtures("scratch")
def test_a_plan_and_a_dry_run_need_no_database(tracer: Terminal, leads: str) -> None:
    for command in ("plan",), ("seed", "--plan"), ("seed", "--dry-run"):
        found = tracer.json(*command, leads, "--blueprint", "normalize")
        assert found["companies_new"] == 2
        assert "no Tracer database in" in " ".join(tracer.err.split())
    tracer("seed", leads, "--blueprint", "normalize", code=2)
    assert "To make one here: run `tracer up`." in " ".join(tracer.err.split())


@pytest.mark.proof
def test_it_is_planned_with_the_prices_of_the_code_and_nothing_is_left(
    tracer: Terminal, tmp_path: Path, leads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    found = tracer.json("plan", leads, *ROUTE, "--cap", "4")
    assert (found["steps"][0]["price"], found["highest_cost"]) == (3, 6)
    assert [(cap["scope"], cap["enough"]) for cap in found["caps"]] == [("batch:leads", False)]
    tracer("plan", leads, "--blueprint", "normalise", code=2)
    assert "Did you mean 'normalize'?" in tracer.err
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "home").exists()
