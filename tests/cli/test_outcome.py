"""A batch with failed rows is exit code 1, whoever has waited for its end."""

import json
import time
from pathlib import Path
from threading import Thread

import pytest

from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.failures import failed_since, newest
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.terminal import Terminal
from tests.world import World, finish


def failed(world: World, name: str = "batch") -> None:
    """A batch of two companies that has ended; both have failed."""
    world.seed(2, name=name)
    world.tick()
    held = world.worker.begin("normalize", world.ids())
    world.worker.fail(held, [Failure("no luck", Status.FAILED)] * len(held))
    world.tick()


SAYS = "Batch 'batch': 2 rows have failed. To see why: run `tracer inspect batch`."


@pytest.mark.parametrize("words", [("wait", "batch"), ("inspect", "batch", "--watch")])
def test_failed_rows_are_exit_code_1(
    tracer: Terminal, world: World, words: tuple[str, ...]
) -> None:
    failed(world)
    tracer(*words, code=1)
    assert SAYS in " ".join(tracer.err.split())
    document = json.loads(tracer(*words, "--json", code=1))
    assert document["status"] == "FINISHED"
    tracer("retry", "batch", "--yes")
    finish(world)
    tracer(*words)


@pytest.mark.parametrize("words", [("wait", "batch"), ("inspect", "batch", "--watch")])
def test_a_batch_that_was_cancelled_is_exit_code_1(
    tracer: Terminal, world: World, words: tuple[str, ...]
) -> None:
    world.seed(2)
    tracer("cancel", "batch", "--yes")
    tracer(*words, code=1)
    assert "Batch 'batch' was cancelled." in tracer.err


def test_wait_returns_when_the_batch_ends(tracer: Terminal, world: World) -> None:
    world.seed(2)
    worker = Thread(target=lambda: (time.sleep(0.2), finish(world)))
    worker.start()
    found = tracer.json("wait", "batch", "--timeout", "30s")
    worker.join()
    assert (found["status"], found["rows"]["COMPLETED"], found["rows"]["FAILED"]) == (
        *("FINISHED", 2),
        0,
    )


def test_a_wait_has_an_end(tracer: Terminal, world: World) -> None:
    world.seed(2)
    world.operator.rows("UPDATE batches SET paused = true")
    tracer("wait", "batch", "--timeout", "50ms", code=1)
    says = " ".join(tracer.err.split())
    assert "batch is paused: it ends only after `tracer resume`" in says
    assert "Batch 'batch' still runs: the time to wait is over." in says
    tracer("wait", "batch", "--timeout", "soon", code=2)


def test_a_loop_until_done_prints_one_document_and_ends_with_the_outcome(
    tracer: Terminal, world: World, tmp_path: Path
) -> None:
    failed(world, "before")
    with listening(tmp_path / "home"):  # nothing is left to work
        assert tracer.json("reconcile", "--until-done")["failures"] == {}
    failed(world)
    world.sql("UPDATE batches SET status = 'RUNNING', finished_at = NULL WHERE name = 'batch'")
    with listening(tmp_path / "home"):
        document = json.loads(tracer("reconcile", "--until-done", "--json", code=1))
    assert (document["left"], document["failures"]) == ("done", {"batch": 2})
    says = "Rows have failed: 2 of batch 'batch'. To see why: run `tracer inspect batch`."
    assert says in " ".join(tracer.err.split())


def test_batches_that_came_later_count_and_earlier_ones_do_not(world: World) -> None:
    failed(world, "before")
    since = newest(world.store)
    failed(world, "after")
    assert failed_since(world.store, since) == {"after": 2}
