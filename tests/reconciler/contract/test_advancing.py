"""What found nothing, or was skipped, ends at once and goes on; it is no failure."""

from typing import Any

import pytest
from alembic import command

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import ADVANCING, Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import steering, views
from reconciler.schema.migrate import upgrade_schema
from tests.reconciler.schema.test_migrations import config
from tests.world import World, finish
from workers.steps.normalize import Normalized

BLUEPRINT = ("normalize", "step_a")
UNKNOWN = Failure(None, Status.NOT_FOUND)
GONE = Failure("NotFound: no such domain", Status.NOT_FOUND, kind=ErrorKind.NOT_FOUND)
LACKING = Failure("normalize has no result", Status.SKIPPED, kind=ErrorKind.INPUT_MISSING)
BROKEN = Failure("PermanentError: no", Status.FAILED, kind=ErrorKind.PERMANENT)


def end(world: World, *failures: Failure) -> None:
    """A batch in which the first companies end so, and one more is COMPLETED."""
    world.seed(len(failures) + 1, BLUEPRINT)
    world.tick()
    *others, last = world.worker.begin("normalize", world.ids())
    keys = {("normalize", attempt.company.id) for attempt in others}
    assert world.worker.fail(others, failures) == keys
    assert world.worker.complete([last], [Normalized()])


def of_step(world: World, step: str, *columns: str) -> list[tuple[Any, ...]]:
    rows = world.rows("step_name = %(step)s", step=step)
    return [tuple(row[column] for column in columns) for row in rows]


def test_each_ends_in_its_own_status_with_its_text_by_one_statement(world: World) -> None:
    end(world, UNKNOWN, GONE, LACKING, BROKEN)
    assert of_step(world, "normalize", "status", "error", "error_kind") == [
        ("NOT_FOUND", None, None),
        ("NOT_FOUND", "NotFound: no such domain", "not_found"),
        ("SKIPPED", "normalize has no result", "input_missing"),
        ("FAILED", "PermanentError: no", "permanent"),
        ("COMPLETED", None, None),
    ]
    for row in world.rows("step_name = 'normalize'"):
        assert row["finished_at"] is not None
        assert row["lease_expires_at"] is None


def test_all_but_the_failed_go_on_once(world: World) -> None:
    end(world, UNKNOWN, GONE, LACKING, BROKEN)
    report = world.tick()
    assert (report.advanced, report.claimed) == (4, 4)
    assert world.store.advance(world.store.now()) == 0
    gone_on = [row["company_id"] for row in world.rows("step_name = 'step_a'")]
    failed = [row["company_id"] for row in world.rows("status = 'FAILED'")]
    assert sorted(gone_on + failed) == world.ids()
    finish(world)
    assert world.operator.batch("batch").status == "FINISHED"
    assert world.statuses() == {"COMPLETED": 5, "NOT_FOUND": 2, "SKIPPED": 1, "FAILED": 1}


@pytest.mark.parametrize("status", ADVANCING)
def test_a_batch_does_not_end_before_its_last_rows_are_advanced(
    world: World, status: Status
) -> None:
    world.seed(1)
    world.sql("UPDATE workflow_states SET status = %(status)s, finished_at = now()", status=status)
    assert world.store.due(world.store.now()).to_advance
    assert world.store.finish(world.store.now()) == []
    assert world.store.advance(world.store.now()) == 1
    assert world.store.finish(world.store.now())


def test_before_and_after_the_tick_the_counts_are_the_same(world: World) -> None:
    end(world, UNKNOWN, GONE, LACKING, BROKEN)
    batch = world.operator.batch("batch")
    before = views.progress(world.operator, batch)["steps"][0]
    ended = {"COMPLETED": 1, "NOT_FOUND": 2, "SKIPPED": 1, "FAILED": 1}
    assert {status: before[status] for status in Status if before[status]} == ended
    world.tick()
    assert views.progress(world.operator, batch)["steps"][0] == before
    (found,), _ = views.batches(world.operator)
    names = ("companies", "done", "completed", "not_found", "skipped", "failed", "in_flight")
    assert [found[name] for name in names] == [5, 4, 1, 2, 1, 1, 4]


def test_a_cancel_counts_what_goes_on_no_more(world: World) -> None:
    end(world, UNKNOWN, LACKING, BROKEN)
    steering.cancel(world.operator, world.operator.batch("batch"))
    steps = views.progress(world.operator, world.operator.batch("batch"))["steps"]
    ended = {"COMPLETED": 1, "NOT_FOUND": 1, "SKIPPED": 1, "FAILED": 1}
    assert {status: steps[0][status] for status in Status if steps[0][status]} == ended
    assert world.rows("step_name = 'step_a'") == []


def test_a_retry_takes_the_failed_alone(world: World) -> None:
    end(world, UNKNOWN, LACKING, BROKEN)
    assert steering.retry(world.operator, world.operator.batch("batch")) == 1
    assert world.statuses() == {"NOT_FOUND": 1, "SKIPPED": 1, "PENDING": 1, "COMPLETED": 1}


@pytest.mark.parametrize("ends", sorted(set(Status) - {"NOT_FOUND", "SKIPPED", "FAILED"}))
def test_an_attempt_without_a_result_ends_in_no_other_status(ends: Status) -> None:
    with pytest.raises(ValueError, match="does not end as"):
        Failure("no", ends)


@pytest.mark.parametrize("ends", [None, Status.FAILED, Status.SKIPPED])
def test_whatever_is_not_just_unknown_has_a_text(ends: Status | None) -> None:
    with pytest.raises(ValueError, match="say why"):
        Failure(None, ends)


def test_the_code_of_the_revision_before_sees_them_as_failed(world: World, url: str) -> None:
    """It would take any other row that goes on for one with a result."""
    end(world, UNKNOWN, LACKING)
    world.tick()
    command.downgrade(config(url), "0010")
    assert [row["error"] for row in world.rows("status = 'FAILED'")] == [
        "not found",
        "normalize has no result",
    ]
    upgrade_schema(url)
    steps = views.progress(world.operator, world.operator.batch("batch"))["steps"]
    assert (steps[0]["COMPLETED"], steps[0]["FAILED"], steps[1]["QUEUED"]) == (1, 2, 3)
    assert steering.retry(world.operator, world.operator.batch("batch")) == 2
    finish(world)
    assert world.statuses() == {"COMPLETED": 6}
