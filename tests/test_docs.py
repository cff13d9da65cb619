"""The documents say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import run
from reconciler.contract.settings import Settings
from tests.system.mutants import TABLE, mutants, written

ROOT = Path(__file__).parent.parent
PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}


def test_the_diagram_is_the_one_of_transitions() -> None:
    check = [sys.executable, "docs/generate.py", "--check"]
    assert subprocess.run(check, cwd=ROOT, check=False).returncode == 0, "python docs/generate.py"


def test_every_environment_variable_is_in_the_table() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)`", PAGES["docs/deploying.md"], re.MULTILINE))
    read = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert table == read | {"PREFECT_API_URL"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)", PAGES[page]):
        assert link.startswith("https://") or (ROOT / page).parent.joinpath(link).exists(), link


def test_the_step_to_copy_is_a_step() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["docs/adding-a-step.md"], re.DOTALL)
    shown = f"{code}\nprint(headcount.tracer_step.settings)"
    made = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, check=True)
    assert made.stdout.decode() == "{'chunk_size': 20, 'max_in_flight': 200}\n"


def commands() -> list[tuple[str, ...]]:
    """What the pages tell to type: (command,) or (group, command)."""
    code = re.findall(r"```sh\n.*?```|`tracer .*?`", "\n".join(PAGES.values()), re.DOTALL)
    typed = re.findall(r"\btracer ([a-z]+)(?: ([a-z]+))?", " ".join(code))
    groups = {"db", "steps", "interval"}
    return sorted({(a, b) if a in groups and b else (a,) for a, b in typed})


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_pages_exists(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_no_trigger_and_no_notification_is_used() -> None:
    """The brackets keep the pattern from finding itself."""
    pattern = r"create (or replace )?(constraint )?trigge[r]|pg_notif[y]|^ *(liste[n]|notif[y]) "
    search = ["git", "grep", "-niE", pattern]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


def test_the_table_of_mutants_has_every_guard_that_there_is() -> None:
    assert list(written()) == [mutant.place for mutant in mutants()], "make mutants, with --write"
    assert "nobody" not in TABLE.read_text()
