"""`--json` on every command: one document on stdout, sentences on stderr."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from tests.cli.test_help import (
    COMPANIES,
    ELSEWHERE,
    EXAMPLES,
    OTHER_CODES,
    PROVIDER,
    commands,
    order,
)
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.terminal import Terminal
from tests.world import World, doing, finish
from workers.kit import Company, PermanentError

COMMANDS = dict(commands(typer.main.get_command(app)))
WITHOUT = {
    ("workers",): "it logs until Ctrl-C, and answers nothing",
    ("modal", "deploy"): "its output and its options are Modal's",
    ("prefect", "deploy"): "its output is Prefect's",
}
STREAMS = {("inspect",)}  # its example watches: a document for each change


def refuse(_: Company) -> None:
    raise PermanentError("closed")


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - WITHOUT), ids=" ".join)
def test_every_command_takes_json(words: tuple[str, ...]) -> None:
    assert "--json" in {name for parameter in COMMANDS[words].params for name in parameter.opts}


def test_the_examples_print_one_document(
    tracer: Terminal, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("companies.csv").write_text(COMPANIES)
    world.sql(PROVIDER)
    for words in sorted(EXAMPLES.keys() - {("cancel",), ("delete",)}, key=order):
        if words[0] in ELSEWHERE:
            continue
        if words == ("reconcile",):  # tests of its own read its document: a worker takes a second
            finish(world)
            continue
        code = tracer.run(*shlex.split(EXAMPLES[words].removeprefix("Example: tracer ")), "--json")
        assert code in OTHER_CODES.get(" ".join(words), {0}), (words, tracer.err)
        documents = [json.loads(line) for line in tracer.out.splitlines()]
        assert len(documents) == 1 or code > 1 or words in STREAMS, (words, tracer.out)


def test_what_the_verbs_answer(tracer: Terminal, world: World) -> None:
    world.seed(2, name="other", priority=7)
    world.seed(3, name="b")
    waits = {"batch": "b", "rows": 3, "in_flight": 0}
    assert tracer.json("pause", "b") == waits | {"paused": True, "changed": True}
    assert tracer.json("pause", "b") == waits | {"paused": True, "changed": False}
    assert tracer.json("resume", "b") == waits | {"paused": False, "changed": True}
    rivals = [{"name": "other", "priority": 7}]
    moved = {"batch": "b", "priority": 5, "rows": 3, "rivals": rivals}
    assert tracer.json("priority", "b", "5") == moved | {"before": 0, "changed": True}
    assert tracer.json("retry", "b", "--yes") == {"batch": "b", "rows": 0, "paused": False}
    world.tick()
    assert tracer.json("cancel", "b", "--yes") == {"batch": "b", "rows": 3, "in_flight": 1}
    assert tracer.json("cancel", "b", "--yes") == {"batch": "b", "rows": 0, "in_flight": 0}


def test_a_retry_answers_how_many_rows_it_moved(tracer: Terminal, world: World) -> None:
    world.seed(1, name="b")
    world.tick()
    world.work(doing(refuse))
    world.tick()
    assert tracer.json("retry", "b", "--yes") == {"batch": "b", "rows": 1, "paused": False}


def test_what_asks_needs_yes_beside_json(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(2, name="b")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    tracer("cancel", "b", "--json", code=2)
    assert (tracer.out, world.statuses()) == ("", {"PENDING": 2})
    assert "Nothing was done: add --yes." in tracer.err


def test_settings_answer_what_was_set(tracer: Terminal, tmp_path: Path) -> None:
    def answer(*words: str) -> Any:
        return tracer.json(*words)

    changed = {"step": "step_a", "set": {"max_in_flight": 7, "enabled": False}}
    assert answer("steps", "set", "step_a", "max_in_flight=7", "enabled=false") == changed
    assert answer("steps", "sync") == {"changes": [], "faults": []}
    assert answer("interval", "set", "--poll", "0.5") == {"poll_s": 0.5}
    paused = answer("interval", "pause")
    assert paused["paused"]
    assert "127.0.0.1:9" in paused["schedule"]["error"]
    with listening(tmp_path / "home"):
        assert answer("reconcile", "--once") == {"left": "paused"}
    revision = answer("db", "status")["revision"]
    assert answer("db", "upgrade") == {
        "before": revision,
        "revision": revision,
        "changes": [],
        "faults": [],
    }


def test_rows_and_a_document_do_not_share_stdout(
    tracer: Terminal, world: World, tmp_path: Path
) -> None:
    world.seed(2, name="b")
    tracer("export", "b", "--json", code=2)
    assert tracer.out == ""
    assert "add -o FILE" in tracer.err
    file = tmp_path / "out.csv"
    written = {"batch": "b", "rows": 2, "format": "csv", "file": str(file)}
    assert tracer.json("export", "b", "-o", str(file)) == written


def test_down_answers_what_it_stopped(tracer: Terminal) -> None:
    assert tracer.json("down") == {"stopped": []}
