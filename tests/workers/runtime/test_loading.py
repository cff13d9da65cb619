"""TRACER_STEPS names packages; what is wrong with one is a sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.holds import Unloaded
from reconciler.contract.results import StepResult
from reconciler.contract.settings import load_settings
from tests.terminal import Terminal
from tests.world import World
from workers.host.server import Host
from workers.runtime.loading import load_steps, see_working_directory

STEP = """
from workers.kit import Company, StepResult, step


class {table}(StepResult, table=True):
    __tablename__ = "{table}"
    letters: int


@step()
def {name}(company: Company) -> {table}:
    return {table}(letters=len(company.name or ""))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules, tables = set(sys.modules), set(StepResult.metadata.tables)
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    for name in set(StepResult.metadata.tables) - tables:
        StepResult.metadata.remove(StepResult.metadata.tables[name])


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def test_steps_of_all_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    write("enrich/steps/one.py", STEP.format(name="one", table="of_one"))
    write("alone.py", STEP.format(name="two", table="of_two"))
    monkeypatch.setenv("TRACER_STEPS", "workers.steps, enrich.steps,alone,enrich.steps")
    assert list(load_steps()) == ["normalize", "step_a", "step_b", "one", "two"]


def test_a_step_with_a_second_name_is_one_step() -> None:
    write("named.py", STEP.format(name="named", table="of_named") + "\n\nagain = named\n")
    assert list(load_steps(["named"])) == ["named"]


def test_the_working_directory_comes_last(here: Path) -> None:
    for name in ("modal", "workers"):
        write(f"{name}/__init__.py", "raise RuntimeError('a stranger')")
    see_working_directory()
    assert sys.path[-1] == str(here)
    assert list(load_steps()) == ["normalize", "step_a", "step_b"]


@pytest.mark.parametrize(
    ("package", "text", "says"),
    [
        ("nonesuch.steps", "", r"there is no nonesuch in .*, and none is installed"),
        ("workers.nonesuch", "", r"workers is found in .*, which has no nonesuch"),
        ("mine", "import nonesuch", r"^mine cannot be imported: ModuleNotFoundError: No module na"),
        ("mine", "def f(:", r"^mine cannot be imported: SyntaxError: .* \(mine\.py, line 1\)"),
        ("mine", "raise SystemExit('a\\nb')", r"^mine cannot be imported: SystemExit: a$"),
        ("mine.steps", "x = 1", r"mine is found in .*, which has no steps"),
        ("mine", "import min", r"^mine cannot be imported: ModuleNotFoundError: No module named"),
        ("mine", "x = 1", r"^There is no step in mine: see what TRACER_STEPS names\.$"),
        (
            "mine",
            STEP.format(name="normalize", table="of_mine"),
            r"^mine and workers\.steps\.normalize both have a step normalize or the table of_mine",
        ),
        (
            "mine",
            STEP.format(name="mine", table="normalized"),
            r"^mine cannot be imported: TypeError: another step has a table 'normalized' already",
        ),
    ],
)
def test_what_cannot_be_loaded_is_a_sentence(package: str, text: str, says: str) -> None:
    write("mine.py", text)
    with pytest.raises(BadInput, match=says):
        load_steps(["workers.steps", package])


def test_a_command_ends_with_2(tracer: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_STEPS", "enrich.steps")
    for words in (("steps", "sync"), ("db", "upgrade"), ("modal", "deploy")):
        tracer(*words, code=2)
        assert "enrich.steps cannot be imported: there is no enrich in" in tracer.err


@pytest.mark.usefixtures("here")
def test_a_file_that_prints_leaves_the_document_whole(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("loud.py", f"print('hello')\n{STEP.format(name='loud', table='loud')}")
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,loud")
    assert tracer.json("steps", "sync")["changes"]
    assert "hello" in tracer.err


def test_a_file_that_cannot_be_imported_keeps_back_its_own_steps_alone() -> None:
    write("enrich/steps/good.py", STEP.format(name="good", table="of_good"))
    write("enrich/steps/broken.py", "import nonesuch")
    write("enrich/steps/twice.py", STEP.format(name="normalize", table="of_twice"))
    faults = list[Unloaded]()
    assert "good" in load_steps(["workers.steps", "enrich.steps"], faults.append)
    assert [(fault.module, fault.step) for fault in faults] == [
        ("enrich.steps.broken", None),
        ("enrich.steps.twice", "normalize"),
    ]
    assert [str(fault).partition(": ")[0] for fault in faults] == [
        "enrich.steps.broken cannot be imported",
        "enrich.steps.twice and workers.steps.normalize both have a step normalize or the table"
        " of_twice",
    ]


def test_a_step_without_its_input_keeps_back_what_needs_it() -> None:
    write("mine.py", ALONE.format(n=9, taken="Other9"))
    write(
        "theirs.py",
        "from mine import Mine9\n"
        + STEP.format(name="theirs", table="of_theirs").replace(
            "company: Company)", "company: Company, mine: Mine9)"
        ),
    )
    faults = list[Unloaded]()
    assert list(load_steps(["workers.steps", "mine", "theirs"], faults.append)) == list(
        load_steps()
    )
    assert [(fault.module, fault.step) for fault in faults] == [
        ("mine", "mine"),
        ("theirs", "theirs"),
    ]
    assert [fault.says.partition(",")[0] for fault in faults] == [
        "mine takes Other9",
        "theirs takes Mine9",
    ]


def test_a_package_that_is_not_there_is_no_fault_to_pass_over() -> None:
    with pytest.raises(BadInput, match="there is no nonesuch in"):
        load_steps(["workers.steps", "nonesuch.steps"], print)


def test_what_is_left_out_is_said_and_the_rest_is_registered(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("enrich/steps/fine.py", STEP.format(name="fine", table="of_fine"))
    write("enrich/steps/broken.py", "import nonesuch")
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,enrich.steps")
    found = tracer.json("steps", "sync", code=2)
    assert "Step fine registered" in found["changes"]
    (fault,) = found["faults"]
    assert fault.startswith("Left out: enrich.steps.broken cannot be imported: ModuleNotFoundError")
    tracer("steps")
    assert "enrich.steps.broken cannot be imported" in " ".join(tracer.err.split())


def test_a_column_of_another_type_holds_its_step_alone(world: World, tracer: Terminal) -> None:
    world.sql("ALTER TABLE results.step_a ALTER COLUMN attribute_count TYPE text")
    world.sql("ALTER TABLE results.normalized DROP COLUMN legal_form")
    found = tracer.json("steps", "sync", code=2)
    assert found["changes"] == ["Column results.normalized.legal_form added"]
    (fault,) = found["faults"]
    assert fault.startswith("Its step is held: results.step_a.attribute_count: type is TEXT in ")
    world.seed(1, ["normalize"], name="well")
    world.seed(1, ["step_a"], name="held")
    world.tick()
    assert world.work().completed == 1
    assert world.work("step_a").begun == 0
    assert world.sql("SELECT step_name FROM holds") == [{"step_name": "step_a"}]


@pytest.mark.usefixtures("here")
def test_a_worker_host_works_the_steps_that_it_has(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("hosted/good.py", STEP.format(name="good", table="of_hosted"))
    write("hosted/broken.py", "import nonesuch")
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,hosted")
    assert Host(url, load_settings(), tmp_path).accept({"step": "broken", "company_ids": [1]}) == {
        "refused": "the worker host has no step 'broken': restart it"
    }
    assert Host(url, load_settings(), tmp_path).room()["room"]["good"] > 0


ALONE = """
from workers.kit import Company, StepResult, step


class Other{n}(StepResult, table=True):
    __tablename__ = "other{n}"


class Thing:
    pass


class Mine{n}(StepResult, table=True):
    __tablename__ = "of_mine{n}"


@step()
def mine(company: Company, taken: {taken}) -> Mine{n}:
    return Mine{n}()
"""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("n", "taken", "says"),
    [
        (1, "Other1", "mine takes Other1, which no step returns: add the package of the step"),
        (2, "Other2 | None", "mine takes Other2, which no step returns"),
        (3, "Mine3", r"mine needs its own result: let it be `Mine3 \| None`\."),
        (4, "Thing", "mine takes `taken: Thing`, and no @resource yields a Thing"),
    ],
)
def test_what_no_step_and_no_resource_gives_is_said(n: int, taken: str, says: str) -> None:
    write("mine.py", ALONE.format(n=n, taken=taken))
    with pytest.raises(BadInput, match=says):
        load_steps(["workers.steps", "mine"])


PAYS = """
from workers.kit import Company, Paid, StepResult, step


class {table}(StepResult, table=True):
    __tablename__ = "{table}"


@step({terms})
async def pays(company: Company, paid: Paid) -> {table}:
    return {table}()
"""


@pytest.mark.parametrize(
    ("table", "terms", "says"),
    [
        ("Sought", 'price=1, recall="lookup"', 'has recall="lookup" and no lookup: write one'),
        ("Dear", 'price="abc"', "price is a number that is not below 0 (it is 'abc')"),
    ],
)
def test_terms_that_cannot_work_are_refused_with_a_sentence(
    here: Path, table: str, terms: str, says: str
) -> None:
    (here / "mine.py").write_text(PAYS.format(table=table, terms=terms))
    with pytest.raises(BadInput) as refused:
        load_steps(["mine"])
    assert says in str(refused.value)
