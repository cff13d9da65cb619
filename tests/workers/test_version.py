"""The version of a step: what changes it, what does not, and where there is no source."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from reconciler.contract.results import StepResult
from tests.world import STEPS
from workers.kit import Company, Step, step
from workers.noop.steps import table_of

WRITTEN = '''
from workers.kit import Company, StepResult, step

class Base(StepResult):
    rank: int | None = None

class Sized(Base, table=True):
    __tablename__ = "sized"
    letters: int | None = None

def count(company: Company) -> int:
    return len(company.key)

@step(concurrency=5)
def sized(company: Company) -> Sized:
    """Count."""
    return Sized(letters=count(company))
'''
Load = Callable[[str], Step]
NUMBERS = count()  # SQLAlchemy remembers the names of modules and classes


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """The step of a file with this text."""
    names = list[str]()

    def loaded(text: str) -> Step:
        file = tmp_path / f"versioned_{next(NUMBERS)}.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        names.append(file.stem)
        spec.loader.exec_module(module)
        StepResult.metadata.remove(StepResult.metadata.tables["results.sized"])
        found: Step = module.sized.tracer_step
        return found

    yield loaded
    for name in names:
        del sys.modules[name]


def test_every_bundled_step_has_one_and_they_differ() -> None:
    versions = [made.version for made in STEPS.values()]
    assert all(version and len(version) == 12 for version in versions)
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Sized(letters=count(company))", "Sized(letters=7)"),
        ("letters: int | None = None", "letters: int | None = 1"),
        ("rank: int | None = None", "rank: int | None = 1"),
    ],
    ids=["the function", "the table", "its base"],
)
def test_what_the_author_wrote_of_the_step_changes_it(load: Load, before: str, after: str) -> None:
    assert load(WRITTEN).version != load(WRITTEN.replace(before, after)).version


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("@step(concurrency=5)", "@step(\n    concurrency=9,\n)"),
        ("import Company", "import PermanentError, Company"),
        ("len(company.key)", "len(company.key) + 1"),
    ],
    ids=["how it runs", "what is beside it", "what it calls"],
)
def test_the_rest_of_the_file_does_not(load: Load, before: str, after: str) -> None:
    assert load(WRITTEN).version == load(WRITTEN.replace(before, after)).version


def test_a_class_without_source_has_the_version_of_its_function_s_file() -> None:
    table = table_of("made_by_a_program")

    def one(company: Company) -> StepResult: ...  # type: ignore[empty-body]

    def other(company: Company) -> StepResult: ...  # type: ignore[empty-body]

    versions = set()
    for function in (one, other):
        function.__annotations__["return"] = table
        versions.add(step()(function).tracer_step.version)  # type: ignore[attr-defined]
    assert len(versions) == 1
    assert None not in versions


def test_without_a_file_there_is_none() -> None:
    typed: dict[str, object] = {}
    exec("def typed(company): ...", typed)
    function = typed["typed"]
    function.__annotations__["return"] = table_of("typed_in")  # type: ignore[attr-defined]
    assert step()(function).tracer_step.version is None  # type: ignore
