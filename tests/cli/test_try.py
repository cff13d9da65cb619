"""`tracer try`: a step is run here and now, and nothing is written."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.contract.results import StepResult
from tests.terminal import Terminal
from tests.world import World

STEPS = """
from workers.kit import Company, NotFound, StepResult, step
from workers.steps.normalize import Normalized


class Letters(StepResult, table=True):
    __tablename__ = "letters"
    letters: int
    told: str | None = None


@step()
async def letters(company: Company, site: Normalized) -> Letters | None:
    if company.key == "nobody.com":
        raise NotFound("not listed")
    if company.key == "broken.com":
        return count(None)
    if company.key == "odd.com":
        return Letters(letters=1, told=chr(0xD800))
    if company.key == "page.com":
        return Letters(letters=1, told="x" * 5_000_000)
    return Letters(letters=len(site.short_name), told=f"with {company.secret('A_KEY')}")


def count(text):
    return len(text)
"""
FILE = "Name,Website\nAcme Inc.,acme.com\nNobody,nobody.com\nBroken,broken.com\nFour,four.com\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a step that nobody has registered; what is imported of it is forgotten."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tried.py").write_text(STEPS)
    (folder / "c.csv").write_text(FILE)
    yield folder
    sys.modules.pop("tried", None)
    if (table := StepResult.metadata.tables.get("results.letters")) is not None:
        StepResult.metadata.remove(table)


@pytest.fixture(autouse=True)
def _there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,tried")
    monkeypatch.setenv("A_KEY", "secret-123")


def test_a_step_that_is_not_registered_is_tried_on_a_file_without_a_database(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    found = tracer.json("try", "letters", "c.csv", "--limit", "3", code=1)
    assert [(row["company"], row["status"]) for row in found] == [
        ("acme.com", "COMPLETED"),
        ("nobody.com", "NOT_FOUND"),
        ("broken.com", "FAILED"),
    ]
    well, unknown, broken = found
    assert well["result"] == {"letters": 4, "told": "with ***"}
    assert well["ran_first"] == ["normalize"]
    assert 0 <= well["took_s"] < 10
    assert (unknown["error"], unknown["error_kind"]) == ("not listed", "not_found")
    assert broken["error"] == "TypeError: object of type 'NoneType' has no len()"
    assert [line.rpartition("tried.py")[2] for line in broken["traceback"]] == [
        ":17 in letters: return count(None)",
        ":26 in count: return len(text)",
    ]
    assert tracer.err == "1 company of 3 failed.\n"


def test_what_it_shows_people(tracer: Terminal) -> None:
    said = tracer("try", "letters", "c.csv", code=1)
    assert "broken.com: TypeError: object of type" in said
    assert "tried.py:26 in count: return len(text)" in said
    assert "secret" not in said + tracer.err
    assert "acme.com: normalize ran first.\n" in tracer.err
    assert "Nothing was written." in tracer.err


def test_what_cannot_be_written_has_failed_as_in_a_batch(tracer: Terminal) -> None:
    Path("odd.csv").write_text("Website\nodd.com\n")
    assert "result not written: 'utf-8' codec can't encode" in tracer(
        "try", "letters", "odd.csv", code=1
    )


@pytest.mark.timeout(30)
def test_a_person_sees_the_begin_of_a_large_value(tracer: Terminal) -> None:
    Path("page.csv").write_text("Website\npage.com\n")
    assert "(5,000,000 characters)" in " ".join(tracer("try", "letters", "page.csv").split())


def test_a_known_company_is_tried_on_what_is_stored(tracer: Terminal, world: World) -> None:
    world.seed(["acme.com"], ["normalize"])
    world.tick()
    world.work()
    before = world.sql("SELECT * FROM results.normalized"), world.rows()
    (found,) = tracer.json("try", "letters", "--company", "acme.com")
    assert found["result"]["letters"] == len("acme.com")
    assert found["ran_first"] == []
    assert (world.sql("SELECT * FROM results.normalized"), world.rows()) == before


def test_a_file_with_a_known_company_uses_what_is_stored(tracer: Terminal, world: World) -> None:
    world.seed(["acme.com"], ["normalize"])
    world.tick()
    world.work()
    found = tracer.json("try", "letters", "c.csv", "--limit", "1")
    assert found[0]["ran_first"] == []


def test_an_empty_cell_of_a_file_leaves_what_is_known(tracer: Terminal, world: World) -> None:
    world.seed(["acme.com"], ["normalize"])
    Path("known.csv").write_text("key,Given,More\nacme.com,,1\n")
    (found,) = tracer.json("try", "step_a", "known.csv")
    assert found["result"] == {"attribute_count": 3}
    (found,) = tracer.json("try", "step_b", "known.csv")
    assert found["result"] == {"greeting": "Hello, acme.com Inc."}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["letters"], "Name a file, or one company: tracer try STEP FILE, or --company KEY."),
        (["letters", "c.csv", "--company", "acme.com"], "Name a file, or one company"),
        (["nonesuch", "c.csv"], "There is no step 'nonesuch'. There are normalize, step_a"),
        (["letters", "nonesuch.csv"], "There is no file nonesuch.csv"),
        (["letters", "--company", "nonesuch"], "There is no company with the key 'nonesuch'."),
    ],
)
def test_what_cannot_be_tried_is_said(tracer: Terminal, arguments: list[str], says: str) -> None:
    tracer("try", *arguments, code=2)
    assert says in tracer.err
