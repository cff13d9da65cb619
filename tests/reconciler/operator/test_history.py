"""The batch's history: what operators did, who they were, and how many rows it moved."""

import getpass
from functools import partial
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.results import Company
from reconciler.operator import steering
from reconciler.operator.batch import BatchView
from reconciler.operator.connect import user
from reconciler.operator.history import read_history
from reconciler.operator.steering import Selection
from tests.terminal import SEED, Terminal
from tests.world import World, doing
from workers.kit import PermanentError
from workers.steps.normalize import Normalized


def batch(world: World) -> BatchView:
    return world.operator.batch("batch")


def fail(world: World) -> None:
    """All that can be claimed fails for good."""

    def function(_: Company) -> Normalized:
        raise PermanentError("no [bold]such[/bold] company")

    world.tick()
    world.work(doing(function))


def test_each_verb_leaves_a_line_of_who_and_what_and_how_many(world: World) -> None:
    world.operator.who = "anna \udcff\0"  # as bytes that are no text come from an environment
    world.seed(3, priority=1)
    steering.pause(world.operator, batch(world))
    steering.pause(world.operator, batch(world), paused=False)
    steering.set_priority(world.operator, batch(world), 7)
    fail(world)
    steering.retry(world.operator, batch(world), Selection("normalize", "no [bold]such"))
    steering.cancel(world.operator, batch(world))
    lines = read_history(world.operator, batch(world))
    assert [(one["verb"], one["detail"], one["rows"]) for one in lines] == [
        ("seed", {"blueprint": ["normalize"], "priority": 1}, 3),
        ("pause", {}, 3),
        ("resume", {}, 3),
        ("priority", {"from": 1, "to": 7}, 3),
        ("retry", {"step": "normalize", "error": "no [bold]such"}, 3),
        ("cancel", {}, 3),
    ]
    assert {one["who"] for one in lines} == {"anna \\udcff\\x00"}
    moments = [one["at"] for one in lines]
    assert moments == sorted(moments)
    world.sql("DELETE FROM batches")
    assert world.sql("SELECT * FROM history") == []


def test_what_changes_nothing_leaves_no_line(world: World) -> None:
    world.seed(1)
    operator = world.operator
    assert steering.pause(operator, batch(world))
    assert not steering.pause(operator, batch(world))
    assert not steering.set_priority(operator, batch(world), 0)
    assert steering.retry(operator, batch(world)) == 0
    steering.cancel(operator, batch(world))
    assert steering.cancel(operator, batch(world)) == 0
    for verb in (steering.retry, steering.pause, partial(steering.set_priority, priority=2)):
        with pytest.raises(BadInput, match="is CANCELLED, and a cancelled batch cannot"):
            verb(operator, batch(world))
    verbs = [line["verb"] for line in read_history(operator, batch(world))]
    assert verbs == ["seed", "pause", "cancel"]


def test_the_history_is_shown_and_is_a_document(tracer: Terminal, file: str, world: World) -> None:
    tracer("seed", file, *SEED, "--name", "b", "--priority", "2")
    fail(world)
    tracer("retry", "b", "--error", "no [bold]", "--yes")
    tracer("priority", "b", "-1")
    shown = " ".join(tracer("history", "b").split())
    assert f"{getpass.getuser()} seed {Path(file).name} --blueprint normalize,step_a" in shown
    assert "--priority 2 " in shown
    assert "retry --error 'no [bold]' 2" in shown
    assert "priority 2 -> -1 2" in shown
    found = tracer.json("history", "b")
    assert found["batch"] == "b"
    assert [one["verb"] for one in found["history"]] == ["seed", "retry", "priority"]
    assert found["history"][2]["detail"] == {"from": 2, "to": -1}
    assert {one["who"] for one in found["history"]} == {getpass.getuser()}
    tracer("history", "nope", code=2)
    assert "There is no batch 'nope'" in tracer.err


def test_a_file_whose_name_is_no_text_is_noted_too(tracer: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9 (2).csv"
    path.write_text("name,domain\nAcme,acme.com\n")
    tracer("seed", str(path), "--blueprint", "normalize", "--name", "b")
    (line,) = tracer.json("history", "b")["history"]
    assert line["detail"]["file"] == "caf\\udce9 (2).csv"
    assert "seed 'caf\\udce9 (2).csv' --blueprint" in " ".join(tracer("history", "b").split())


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("no user")])
def test_a_user_without_a_name_is_a_number(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user().startswith("uid ")
