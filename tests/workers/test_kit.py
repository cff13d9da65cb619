"""A step is one file: the decorator, the registry, and the domain table that follows its model."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.render import out, table
from reconciler.contract.errors import BadInput
from reconciler.schema.domain_tables import sync_tables
from reconciler.schema.steps import sync_steps
from tests.terminal import Terminal
from tests.world import STEPS, World
from workers import steps as package
from workers.kit import Company, StepResult, step
from workers.runtime.loading import load_steps

TABLES = [step.table for step in STEPS.values()]


COUNT = """
from workers.kit import Company, StepResult, step


class NameLength(StepResult, table=True):
    __tablename__ = "name_length"
    letters: int


@step(chunk_size=7, max_attempts=2)
def name_length(company: Company) -> NameLength:
    return NameLength(letters=len(company.name or ""))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second place where `workers.steps` finds files; what was read there is forgotten after."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("workers.steps.name_length", None)
    table = StepResult.metadata.tables.get("results.name_length")
    if table is not None:
        StepResult.metadata.remove(table)


def columns(url: str, table: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'results' AND table_name = %s ORDER BY ordinal_position",
            [table],
        )
        return [row[0] for row in found]


def test_one_file_and_a_sync_make_a_step(world: World, url: str, folder: Path) -> None:
    (folder / "name_length.py").write_text(COUNT)
    assert sync_steps(url, load_steps()) == [
        "Table results.name_length created",
        "Step name_length registered",
    ]
    (row,) = [row for row in world.operator.steps() if row["step_name"] == "name_length"]
    assert (row["chunk_size"], row["max_attempts"], row["app_name"]) == (7, 2, "tracer")

    world.seed(3, ["normalize", "name_length"])
    world.tick()
    world.work()
    world.tick()
    assert world.work(load_steps()["name_length"]).completed == 3
    assert [r["letters"] for r in world.sql("SELECT * FROM results.name_length")] == [14] * 3


OUT_OF_ROOM = ("app_name", "start_deadline_s", "backoff_s", "backoff_max_s")


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        (200, []),
        (80, ["app_name", "backoff_max_s", "hold_after", "give_up_after_s"]),
        (60, [*OUT_OF_ROOM, "hold_after", "give_up_after_s"]),
    ],
)
def test_settings_are_headed_by_their_names_as_far_as_there_is_room(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch, width: int, missing: list[str]
) -> None:
    monkeypatch.setattr(out, "_width", width)
    *heading, first, second, third = tracer("steps").splitlines()
    for name in ("max_", "attempts", "max_in_", "flight", "chunk_", "size", "enabled"):
        assert name in "\n".join(heading).split()
    assert [line.split()[0] for line in (first, second, third)] == ["normalize", "step_a", "step_b"]
    assert len(first) <= width
    assert (f"No room for {', '.join(missing)}:" if missing else "") in " ".join(tracer.err.split())
    assert bool(missing) == bool(tracer.err)


def test_no_text_is_folded_to_a_letter_a_line() -> None:
    made = table(["step", "#" + "n" * 12, "message"], [["normalize", 1234, "word " * 40]])
    step, number, message = (column.width for column in made.columns)
    assert (step, number) == (9, 12)
    assert message == out.width - 9 - 12 - 6
    many = table(["step", *["#heading"] * 12], [["normalize", *[1234] * 12]])
    assert [column.width for column in many.columns] == [8, *[4] * 12]


def test_a_column_that_a_model_gained_is_added(world: World, url: str) -> None:
    world.sql("ALTER TABLE results.normalized DROP COLUMN legal_form")
    assert sync_tables(url, TABLES) == ["Column results.normalized.legal_form added"]
    assert columns(url, "normalized")[-1] == "legal_form"


def test_a_new_column_that_rows_cannot_fill_is_left_to_a_person(world: World, url: str) -> None:
    world.sql("ALTER TABLE results.step_a DROP COLUMN attribute_count")
    world.sql("INSERT INTO results.step_a (company_id) VALUES (1)")
    with pytest.raises(BadInput, match="Let it be None"):
        sync_tables(url, TABLES)


def test_a_column_of_another_type_is_left_to_a_person(world: World, url: str) -> None:
    world.sql("ALTER TABLE results.step_a ALTER COLUMN attribute_count TYPE text")
    with pytest.raises(BadInput, match=r"results\.step_a\.attribute_count: type is TEXT"):
        sync_tables(url, TABLES)


def test_a_table_that_no_step_has_any_more_is_kept(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE results.paid_for (company_id bigint)")
    assert sync_tables(url, TABLES) == []
    assert columns(url, "paid_for") == ["company_id"]


def test_a_file_that_cannot_be_imported_is_named(folder: Path) -> None:
    (folder / "broken.py").write_text("import nonesuch")
    with pytest.raises(BadInput, match=r"workers\.steps\.broken cannot be imported"):
        load_steps()


def test_a_function_that_returns_no_table_is_no_step() -> None:
    with pytest.raises(TypeError, match="annotated to return a StepResult table"):

        @step()
        def nothing(company: Company) -> None: ...  # type: ignore[arg-type]


def test_the_bundled_steps_are_found() -> None:
    assert list(load_steps()) == ["normalize", "step_a", "step_b"]
