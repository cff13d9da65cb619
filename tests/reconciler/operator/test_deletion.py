"""What a delete takes with it, what it leaves, and what it refuses."""

import json

import pytest

from reconciler.contract.errors import BadInput
from reconciler.operator import deletion, steering
from reconciler.operator.deletion import Deleted, delete_batch, delete_company
from reconciler.operator.history import read_history
from tests.terminal import Terminal
from tests.world import World, finish

LEFT = """
SELECT (SELECT count(*) FROM batches) AS batches, (SELECT count(*) FROM companies) AS companies,
    (SELECT count(*) FROM batch_companies) AS members,
    (SELECT count(*) FROM workflow_states) AS rows,
    (SELECT count(*) FROM results.normalized) AS results,
    (SELECT count(*) FROM results.superseded) AS superseded
"""


def left(world: World) -> tuple[int, ...]:
    return tuple(world.sql(LEFT)[0].values())


def finished(world: World, companies: int, name: str) -> None:
    world.seed(companies, name=name)
    finish(world)


def test_a_batch_goes_with_its_rows_and_leaves_companies_and_results(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(world, 5, "first")
    finished(world, 2, "second")
    monkeypatch.setattr(deletion, "CHUNK", 2)
    seen: list[int] = []
    assert delete_batch(world.operator, world.operator.batch("first"), seen.append) == 5
    assert seen == [2, 4, 5]
    assert left(world) == (1, 5, 2, 2, 5, 2)
    assert world.operator.batch_names() == ["second"]


def test_a_batch_that_is_retried_in_between_keeps_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(world, 5, "batch")
    monkeypatch.setattr(deletion, "CHUNK", 2)

    def reopen(_: int) -> None:
        world.sql("UPDATE batches SET status = 'RUNNING', finished_at = NULL")

    with pytest.raises(BadInput, match="has not ended"):
        delete_batch(world.operator, world.operator.batch("batch"), reopen)
    assert left(world)[:3] == (1, 5, 3)


def test_a_company_goes_with_its_results_and_leaves_the_others(world: World) -> None:
    finished(world, 3, "first")
    finished(world, 2, "second")
    gone = delete_company(world.operator, "company-1")
    assert gone == Deleted(batches=2, rows=2, results=1, superseded=1)
    assert left(world) == (2, 2, 3, 3, 2, 1)
    line = read_history(world.operator, world.operator.batch("second"))[-1]
    assert (line["verb"], line["detail"], line["rows"]) == ("delete", {"companies": 1}, 1)


def test_what_runs_is_not_deleted(tracer: Terminal, world: World) -> None:
    world.seed(2)
    before = left(world)
    for what in (["batch"], ["--company", "company-0"]):
        tracer("delete", *what, "--yes", code=2)
        says = "has not ended, so nothing of it is deleted. To end it: run `tracer cancel batch`."
        assert says in " ".join(tracer.err.split())
    steering.cancel(world.operator, world.operator.batch("batch"))
    assert left(world) == before


def test_a_delete_says_what_it_will_take_and_needs_a_yes(tracer: Terminal, world: World) -> None:
    finished(world, 2, "batch")
    before = left(world)
    tracer("delete", "batch", code=2)
    says = "Deletes batch, with its history: 2 companies, 2 rows. Nothing was done: add --yes."
    assert says in " ".join(tracer.err.split())
    tracer("delete", "--company", "www.company-0", code=2)
    tracer("delete", code=2)
    tracer("delete", "batch", "--company", "company-0", code=2)
    assert left(world) == before
    gone = json.loads(tracer("delete", "--company", "company-0", "--yes", "--json"))
    counts = {"batches": 1, "rows": 1, "results": 1, "superseded": 0}
    assert gone == {"company": "company-0", **counts}
    gone = json.loads(tracer("delete", "batch", "--yes", "--json"))
    assert gone == {"batch": "batch", "companies": 1, "rows": 1}
    assert left(world) == (0, 1, 0, 0, 1, 0)
