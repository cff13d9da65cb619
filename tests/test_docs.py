"""The documents say what the code does."""

import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.settings import Settings
from tests.system.mutants import TABLE, mutants, written
from tests.world import World

ROOT = Path(__file__).parent.parent
TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
IN_TESTS = ("tests/bench/peers/README.md", "tests/standins/controlplane/README.md")
IN_DOCS = tuple(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))
PAGES = {page: (ROOT / page).read_text() for page in (*TOP, *IN_DOCS, *IN_TESTS)}
SCREEN = 50  # lines; a page that has more needs a table of contents
FRONT = {"README.md", "CHANGELOG.md"}  # the front door; a list of versions

FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


def blocks(page: str, language: str) -> list[str]:
    """The page's code in this language."""
    return [code for named, code in FENCED.findall(PAGES[page]) if named == language]


def inline(page: str) -> list[str]:
    """What the page's text has between backticks."""
    return INLINE.findall(FENCED.sub("", PAGES[page]))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", sorted(PAGES.keys() - FRONT))
def test_a_page_begins_with_one_line_that_sums_it_up(page: str) -> None:
    title, empty, summary, below = PAGES[page].splitlines()[:4]
    assert title.startswith("# ")
    assert summary[-1] in ".:"
    assert not empty + below


@pytest.mark.parametrize("page", sorted(PAGES.keys() - FRONT))
def test_a_page_that_passes_a_screen_has_a_table_of_contents(page: str) -> None:
    headings = re.findall(r"^## (.*)", FENCED.sub("", PAGES[page]), re.MULTILINE)
    if len(PAGES[page].splitlines()) > SCREEN:
        assert [h for h in headings if f"[{h}](#" not in PAGES[page]] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", PAGES[page])):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    named = re.compile(r"(?:reconciler|workers|cli|tests|docs|alembic|\.ci)/[\w/.*-]*")
    paths = [text for text in inline(page) if named.fullmatch(text)]
    assert [path for path in paths if not any(ROOT.glob(path))] == []


def test_every_room_is_in_its_table() -> None:
    parts = {part: (ROOT / part).glob("*/__init__.py") for part in ("reconciler", "workers", "cli")}
    rooms = {part: {f"{part}/{f.parent.name}/" for f in found} for part, found in parts.items()}
    for page, needed in (
        ("README.md", rooms["reconciler"]),
        ("ARCHITECTURE.md", set.union(*rooms.values())),
    ):
        assert needed <= set(re.findall(r"^\| `([\w/]+/)` \|", PAGES[page], re.MULTILINE))


def test_where_to_change_what_names_what_is_there() -> None:
    _, table = PAGES["ARCHITECTURE.md"].split("| To change | Open | See |")
    for line in re.findall(r"^\| .*", table, re.MULTILINE)[1:]:
        _, _, files, names, _ = line.split("|")
        where = [ROOT / path for path in re.findall(r"`([\w/]+\.(?:py|yaml))`", files + names)]
        text = "".join(path.read_text() for path in where if path.exists())
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", text), line


def test_the_diagram_and_the_table_of_verbs_are_those_of_transitions() -> None:
    check = [sys.executable, "docs/generate.py", "--check"]
    assert subprocess.run(check, cwd=ROOT, check=False).returncode == 0, "python docs/generate.py"


def test_every_environment_variable_is_in_the_table() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)`", PAGES["docs/deploying.md"], re.MULTILINE))
    read = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert table == read | {"PREFECT_API_URL"}


def test_every_kind_of_error_is_in_the_table() -> None:
    table = re.findall(
        r"^\| `([a-z_]+)` \| (?:the tick|a worker)", PAGES["docs/operating.md"], re.M
    )
    assert table == list(ErrorKind)


def test_the_test_to_copy_passes(world: World) -> None:
    (code,) = blocks("CONTRIBUTING.md", "python")
    made: dict[str, Any] = {}
    exec(code, made)  # as the page has it
    made["test_a_company_that_is_done_goes_on_to_the_next_step"](world)


@pytest.mark.parametrize("page", PAGES)
def test_python_is_python(page: str) -> None:
    for code in blocks(page, "python"):
        compile(textwrap.dedent(code), page, "exec")


def typed() -> Iterator[str]:
    """Every tracer command line that the pages show."""
    for page in PAGES:
        lines = "\n".join(blocks(page, "sh")).splitlines()
        for text in (*lines, *inline(page)):
            if command := re.match(r"(?:\w+=\S+ )?tracer (.*)", text, re.DOTALL):
                yield " ".join(shlex.split(command[1], comments=True))


def unknown(words: list[str]) -> list[str]:
    """Which words are no command, or no option of the command before them."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            if any(parameter.param_type_name == "argument" for parameter in command.params):
                break  # `orders BATCH`, beside `orders settle`
            return words[:1]
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    options = [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]
    return [option for option in options if option not in known]


@pytest.mark.parametrize(
    "line",
    sorted(set(typed())),
)
def test_every_command_exists_with_its_options(line: str) -> None:
    assert unknown(line.split()) == []


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"\bmake ([a-z]+)$", "\n".join(t for p in PAGES for t in inline(p)), re.M)
    assert set(named) <= targets


def test_no_trigger_and_no_notification_is_used() -> None:
    """The brackets keep the pattern from finding itself."""
    pattern = r"create (or replace )?(constraint )?trigge[r]|pg_notif[y]|^ *(liste[n]|notif[y]) "
    search = ["git", "grep", "-niE", pattern]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


def test_the_table_of_mutants_has_every_guard_that_there_is() -> None:
    assert list(written()) == [mutant.place for mutant in mutants()], "make mutants, with --write"
    assert "nobody" not in TABLE.read_text()


def test_the_tests_that_notice_mutants_exist() -> None:
    for path, name in set(re.findall(r"`([\w/]+\.py)::(\w+)`", TABLE.read_text())):
        assert f"def {name}(" in (ROOT / "tests" / path).read_text()
