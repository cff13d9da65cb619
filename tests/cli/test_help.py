"""Help that teaches: a tour in the order of use, whose examples work; names that complete."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.completion import batch_names, step_names
from cli.main import app
from tests.terminal import Terminal
from tests.world import World, finish

PREFIX = "Example: tracer "
COMPANIES = "name,domain\nAcme,acme.com\n" + "".join(f"{n},{n}.com\n" for n in range(11))
# Each runs until it is stopped, makes a database of its own, or needs a service: tests of their own
# run them.
ELSEWHERE = {"demo", "up", "down", "bench", "workers", "modal", "prefect"}
FIRST = ("db", "steps", "seed", "batches", "pause", "resume", "priority", "retry", "history")
PROVIDER = "INSERT INTO providers (name) VALUES ('apollo')"  # no bundled step has one
# No Prefect is here: what moves its schedule says so, and test_schedule.py runs that with one. And
# a busy machine may be too slow for the p95 of the example.
OTHER_CODES = {
    "doctor": {1},
    "interval set": {3},
    "interval tune": {0, 1},
}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be run, with its words; a group that runs by itself too."""
    for name, command in group.commands.items():
        inside = (*path, name)
        if hasattr(command, "commands"):
            yield from commands(command, inside)
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield inside, command


EXAMPLES = {words: command.epilog or "" for words, command in commands(typer.main.get_command(app))}


def order(words: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """What sets up comes first, then what needs a batch that is done, last what has it go on."""
    place = FIRST.index(words[0]) if words[0] in FIRST else len(FIRST) + (words[0] != "reconcile")
    return place + (words[0] in ("rerun", "reparse")), words


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_command_has_an_example_of_itself(words: tuple[str, ...]) -> None:
    assert EXAMPLES[words].startswith(PREFIX + " ".join(words))


def test_the_examples_do_what_they_say(
    tracer: Terminal, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.operator.set_polling(poll_s=0.05)
    world.sql(PROVIDER)
    monkeypatch.chdir(tmp_path)
    Path("companies.csv").write_text(COMPANIES)
    shown = {w: shlex.split(EXAMPLES[w].removeprefix("Example: tracer ")) for w in EXAMPLES}
    for words in sorted(shown.keys() - {("cancel",), ("delete",)}, key=order):
        if words == ("reconcile",):  # test_commands.py runs it: a worker host takes seconds
            finish(world)
        elif words[0] not in ELSEWHERE:
            code = tracer.run(*shown[words])
            assert code in OTHER_CODES.get(" ".join(words), {0}), (words, tracer.err)
    assert "normalize" in Path("enriched.csv").read_text()
    assert "<html" in Path("report.html").read_text()


def test_the_examples_of_cancel_and_delete_do_what_they_say(
    tracer: Terminal, tmp_path: Path
) -> None:
    path = tmp_path / "companies.csv"
    path.write_text(COMPANIES)
    tracer("seed", str(path), "--blueprint", "normalize")
    tracer(*shlex.split(EXAMPLES["cancel",].removeprefix("Example: tracer ")))
    assert "12 rows cancelled" in tracer.err
    tracer(*shlex.split(EXAMPLES["delete",].removeprefix("Example: tracer ")))
    assert "companies is deleted, with 12 rows. Results stay." in tracer.err


@pytest.mark.usefixtures("tracer")
def test_batches_and_steps_complete(world: World) -> None:
    world.seed(1, name="leads-2026")
    assert batch_names("lea") == ["leads-2026"]
    assert batch_names("x") == []
    assert step_names("step_") == ["step_a", "step_b"]
    assert step_names("normalize,step_a") == ["normalize,step_a"]


@pytest.mark.usefixtures("tracer")
def test_completion_says_nothing_where_there_is_no_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert batch_names("") == step_names("") == []
    monkeypatch.delenv("DATABASE_URL")
    assert batch_names("") == []


def test_errors_name_what_was_meant(tracer: Terminal, world: World) -> None:
    world.seed(["acme.com", "globex.com"], name="leads")
    for words, meant in (
        (("inspect", "laeds"), "Did you mean 'leads'?"),
        (("explain", "leads", "ACME"), "Did you mean 'acme.com'?"),
        (("inspect", "leads", "--company", "globex"), "Did you mean 'globex.com'?"),
        (("steps", "set", "normalise", "enabled=true"), "Did you mean 'normalize'?"),
        (("retry", "leads", "--step", "normalise"), "Did you mean 'normalize'?"),
        (("inspcet", "leads"), "Did you mean 'inspect'?"),
    ):
        tracer(*words, code=2)
        assert meant in tracer.err
