"""`tracer try` of a step that pays: its calls and their cost are shown, and no secret."""

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import trials
from reconciler.contract import secrets
from reconciler.contract.results import StepResult
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal

STEPS = """
import os
from workers.kit import Company, Paid, StepResult, step


class Paidfor(StepResult, table=True):
    __tablename__ = "paidfor"
    employees: int


@step(provider="acme", price=2, bills="hit", timeout_s=5)
async def paidfor(company: Company, paid: Paid) -> Paidfor | None:
    asked = {"domain": company.domain, "key": company.secret("ACME_KEY")}
    answer = await paid.get(os.environ["ACME_URL"] + "/enrich", params=asked)
    return None if answer.status == 404 else Paidfor(employees=answer.json()["employees"])


class Unseen(StepResult, table=True):
    __tablename__ = "unseen"
    employees: int


async def cut(request: dict[str, str]) -> dict[str, str]:
    raise ConnectionResetError("reset")


class Cutoff(StepResult, table=True):
    __tablename__ = "cutoff"
    employees: int


@step(provider="acme", price=2)
async def cutoff(company: Company, paid: Paid) -> Cutoff:
    await paid.call(cut, {"domain": company.key})
    return Cutoff(employees=1)


@step(price="0.5")
async def unseen(company: Company) -> Unseen:
    return Unseen(employees=1)
"""
FILE = "Name,Website\nAcme Inc.,acme.com\nNobody,nobody.com\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with steps that pay; what is imported of it is forgotten."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tried_paid.py").write_text(STEPS)
    (folder / "c.csv").write_text(FILE)
    yield folder
    sys.modules.pop("tried_paid", None)
    for name in ("paidfor", "unseen", "cutoff"):
        StepResult.metadata.remove(StepResult.metadata.tables[f"results.{name}"])


@pytest.fixture
def provider(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(secrets, "_read", set())
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,tried_paid")
    monkeypatch.setenv("ACME_KEY", "secret-123")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with Provider(unknown={"nobody.com"}).running() as found:
        monkeypatch.setenv("ACME_URL", found.url)
        yield found


def test_calls_are_shown_with_what_they_cost(tracer: Terminal, provider: Provider) -> None:
    acme, nobody = tracer.json("try", "paidfor", "c.csv")
    (call,) = acme["calls"]
    assert call == {
        "step": "paidfor",
        "request": {
            "method": "GET",
            "url": f"{provider.url}/enrich",
            "params": {"domain": "acme.com", "key": "***"},
        },
        "status": 200,
        "charged": 2,
    }
    assert (acme["cost"], nobody["cost"]) == (2, 0)
    assert [call["status"] for call in nobody["calls"]] == [404]
    assert provider.charges.total() == 1


@pytest.mark.usefixtures("provider")
def test_a_person_sees_them_and_no_secret(tracer: Terminal) -> None:
    said = tracer("try", "paidfor", "c.csv")
    assert "calls  cost" in said
    told = " ".join(tracer.err.split())
    assert '"key": "***"} -> 200, cost 2' in told
    assert "It has cost 2. " in told
    assert "secret-123" not in said + tracer.err


def test_a_call_without_an_answer_may_have_been_charged(
    tracer: Terminal, provider: Provider
) -> None:
    provider.do("acme.com", DROP)
    tracer("try", "paidfor", "c.csv", "--limit", "1", code=1)
    told = " ".join(tracer.err.split())
    assert "no answer came: it may have been charged" in told
    assert "It has cost 0, and what the calls without an answer have cost." in told
    provider.do("acme.com", DROP)
    (acme,) = tracer.json("try", "paidfor", "c.csv", "--limit", "1", code=1)
    assert (acme["cost"], acme["calls"][0]["status"]) == (None, None)


@pytest.mark.usefixtures("provider")
def test_the_lines_of_an_error_are_the_authors_and_none_of_tracers(tracer: Terminal) -> None:
    (acme,) = tracer.json("try", "cutoff", "c.csv", "--limit", "1", code=1)
    assert acme["error"] == "ConnectionResetError: reset"
    lines = [line.rpartition("tried_paid.py:")[2].partition(" ")[2] for line in acme["traceback"]]
    assert lines == [
        'in cutoff: await paid.call(cut, {"domain": company.key})',
        'in cut: raise ConnectionResetError("reset")',
    ]


@pytest.mark.parametrize("here", ["/opt/venv/site-packages", "/opt/tracer"])
def test_whose_a_file_is(monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    """In a wheel, Tracer is beside the libraries; else, the user's own folders may be beside it."""
    monkeypatch.setattr(trials, "HERE", Path(here))
    tracers = ("workers/paid.py", "workers/runtime/trial.py", "cli/trials.py", "reconciler/tick.py")
    steps = ("workers/steps/normalize.py", "workers/sample/steps.py")
    assert all(trials.is_tracers(Path(here, file)) for file in tracers)
    assert not any(trials.is_tracers(Path("/opt/mine", file)) for file in tracers)
    for file in [*(Path(here, step) for step in steps), Path("/opt/tracer/enrich/steps.py")]:
        assert not trials.is_tracers(file)
        assert not trials.is_library(file)
    for library in ("/opt/venv/site-packages/aiohttp/client.py", traceback.__file__):
        assert trials.is_library(Path(library))
        assert not trials.is_tracers(Path(library))


def test_a_refused_call_costs_nothing(tracer: Terminal, provider: Provider) -> None:
    provider.do("acme.com", 429)
    (acme,) = tracer.json("try", "paidfor", "c.csv", "--limit", "1", code=1)
    assert (acme["error_kind"], acme["cost"]) == ("retry_after", 0)
    assert [call["status"] for call in acme["calls"]] == [429]


@pytest.mark.usefixtures("provider")
def test_of_a_step_without_paid_only_the_price_is_known(tracer: Terminal) -> None:
    (acme,) = tracer.json("try", "unseen", "c.csv", "--limit", "1")
    assert (acme["calls"], acme["cost"]) == ([], 0.5)
