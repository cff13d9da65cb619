"""`tracer batches` where there are more than a screen has room for."""

import pytest

from cli import batches
from tests.terminal import Terminal
from tests.world import World


def test_the_newest_are_shown_and_how_many_more_there_are(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        world.seed(1, name=f"batch-{number}")
    names = [f"batch-{number}" for number in range(4)]
    monkeypatch.setattr(batches, "MOST", 3)
    shown = tracer("batches")
    assert [name for name in names if name in shown] == names[1:]
    assert "1 older batch is not shown: `tracer batches --limit 4`." in " ".join(tracer.err.split())
    tracer("batches", "--limit", "4")
    assert tracer.err == ""
    assert [row["name"] for row in tracer.json("batches")] == names
    assert [row["name"] for row in tracer.json("batches", "--limit", "2")] == names[2:]
    tracer("batches", "--limit", "0", code=2)
