"""A waterfall: on to the next member until one has found the company, and then past them all."""

import json
from collections.abc import Sequence

import pytest
from alembic import command

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.results import StepResult
from reconciler.contract.states import BatchStatus, Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import steering, views
from reconciler.schema.migrate import upgrade_schema
from tests.reconciler.schema.test_migrations import config
from tests.world import World, finish
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA
from workers.steps.step_b import StepB

WATERFALL = {"first": ["normalize", "step_a"]}
THEN_B = [WATERFALL, "step_b"]
RESULTS: dict[str, StepResult] = {
    "normalize": Normalized(domain="acme.com"),
    "step_a": StepA(attribute_count=1),
    "step_b": StepB(greeting="hello"),
}
MISSED = {
    Status.NOT_FOUND: Failure(None, Status.NOT_FOUND),
    Status.SKIPPED: Failure("it lacks an input", Status.SKIPPED, kind=ErrorKind.INPUT_MISSING),
    Status.FAILED: Failure("PermanentError: no", Status.FAILED, kind=ErrorKind.PERMANENT),
}


def ends(world: World, step: str, *statuses: Status) -> None:
    """The step's claimed companies end so, in their order; then a tick."""
    attempts = world.worker.begin(step, world.ids())
    assert len(attempts) == len(statuses)
    for attempt, status in zip(attempts, statuses, strict=True):
        if status == Status.COMPLETED:
            assert world.worker.complete([attempt], [RESULTS[step]])
        else:
            assert world.worker.fail([attempt], [MISSED[status]])
    world.tick()


def way(world: World) -> list[tuple[str, str]]:
    return [(row["step_name"], row["status"]) for row in world.rows()]


def test_what_the_first_has_found_passes_the_others(world: World) -> None:
    world.seed(1, THEN_B)
    world.tick()
    ends(world, "normalize", Status.COMPLETED)
    assert way(world) == [("normalize", "COMPLETED"), ("step_b", "QUEUED")]
    ends(world, "step_b", Status.COMPLETED)
    assert world.operator.batch("batch").status == BatchStatus.FINISHED


@pytest.mark.parametrize("missed", MISSED)
def test_what_it_has_not_found_is_asked_of_the_next_and_goes_on_in_any_case(
    world: World, missed: Status
) -> None:
    world.seed(1, THEN_B)
    world.tick()
    ends(world, "normalize", missed)
    assert way(world) == [("normalize", missed), ("step_a", "QUEUED")]
    ends(world, "step_a", missed)
    ends(world, "step_b", Status.COMPLETED)
    assert way(world) == [("normalize", missed), ("step_a", missed), ("step_b", "COMPLETED")]
    assert world.operator.batch("batch").status == BatchStatus.FINISHED


def test_a_failure_outside_a_waterfall_still_ends_the_way(world: World) -> None:
    world.seed(1, ["step_b", WATERFALL])
    world.tick()
    ends(world, "step_b", Status.FAILED)
    assert way(world) == [("step_b", "FAILED")]
    assert world.operator.batch("batch").status == BatchStatus.FINISHED


def test_a_worker_that_is_lost_too_often_fails_its_row_and_the_next_is_asked_at_once(
    world: World,
) -> None:
    world.operator.set_step("normalize", {"max_attempts": 1})
    world.seed(1, THEN_B)
    world.tick()
    world.worker.begin("normalize", world.ids())
    world.sql("UPDATE workflow_states SET lease_expires_at = now()")
    report = world.tick()
    assert (report.failed, report.advanced, report.claimed) == (1, 1, 1)
    assert way(world) == [("normalize", "FAILED"), ("step_a", "QUEUED")]


def test_a_waterfall_at_the_end_ends_the_batch(world: World) -> None:
    world.seed(2, ["step_b", WATERFALL])
    world.tick()
    ends(world, "step_b", Status.COMPLETED, Status.COMPLETED)
    ends(world, "normalize", Status.COMPLETED, Status.NOT_FOUND)
    assert world.operator.batch("batch").status == BatchStatus.RUNNING
    ends(world, "step_a", Status.FAILED)
    assert world.operator.batch("batch").status == BatchStatus.FINISHED


def test_two_waterfalls_behind_each_other_are_two(world: World) -> None:
    world.seed(1, [WATERFALL])
    two = json.dumps([WATERFALL, {"first": ["step_b", "step_c"]}])
    world.sql("UPDATE batches SET blueprint = %(two)s::jsonb", two=two)
    world.tick()
    ends(world, "normalize", Status.COMPLETED)
    assert way(world)[1:] == [("step_b", "QUEUED")]


def counts(world: World, *names: str) -> list[list[int]]:
    steps = views.progress(world.operator, world.operator.batch("batch"))["steps"]
    return [[step[name] for name in names] for step in steps]


def test_each_place_says_what_it_was_tried_for_and_what_came_of_it(world: World) -> None:
    world.seed(5, THEN_B)
    world.tick()
    found, missed = Status.COMPLETED, [Status.NOT_FOUND, Status.SKIPPED, Status.FAILED]
    ends(world, "normalize", found, found, *missed)
    shown = ("tried", "COMPLETED", "NOT_FOUND", "SKIPPED", "FAILED", "not_asked", "hit_rate")
    assert counts(world, *shown) == [
        [4, 2, 1, 1, 1, 0, 0.6667],
        [0, 0, 0, 0, 0, 2, None],
        [0, 0, 0, 0, 0, 0, None],
    ]
    ends(world, "step_a", found, *missed[:2])
    assert counts(world, "tried", "hit_rate", "past") == [
        [4, 0.6667, 2],
        [2, 0.5, 2],
        [0, None, None],
    ]
    ends(world, "step_b", *[found] * 5)
    [row], _ = views.batches(world.operator)
    assert (row["done"], row["failed"], row["not_asked"]) == (12, 1, 2)
    assert row["companies"] * len(row["steps"]) == 15


def failed_then_found(world: World) -> None:
    world.seed(1, THEN_B)
    world.tick()
    ends(world, "normalize", Status.FAILED)
    ends(world, "step_a", Status.COMPLETED)
    ends(world, "step_b", Status.COMPLETED)


def test_a_failed_member_can_be_retried_and_its_company_does_not_go_twice(world: World) -> None:
    failed_then_found(world)
    batch = world.operator.batch("batch")
    assert (batch.status, steering.failed(world.operator, batch)[0]["rows"]) == ("FINISHED", 1)
    assert steering.retry(world.operator, batch) == 1
    assert world.operator.batch("batch").status == BatchStatus.RUNNING
    world.tick()
    ends(world, "normalize", Status.COMPLETED)
    assert way(world) == [(step, "COMPLETED") for step in ("normalize", "step_a", "step_b")]
    assert world.operator.batch("batch").status == BatchStatus.FINISHED


def test_a_cancel_between_two_members_lets_nothing_go_on(world: World) -> None:
    world.seed(1, THEN_B)
    world.tick()
    attempts = world.worker.begin("normalize", world.ids())
    assert world.worker.fail(attempts, [MISSED[Status.FAILED]])
    steering.cancel(world.operator, world.operator.batch("batch"))
    world.tick()
    assert way(world) == [("normalize", "FAILED")]


@pytest.mark.parametrize(
    ("blueprint", "steps", "past"),
    [
        (["a", "b"], ["a", "b"], None),
        ([{"first": ["a", "b"]}], ["a", "b"], [2, 2]),
        (
            ["a", {"first": ["b", "c", "d"]}, "e", {"first": ["f", "g"]}],
            [*"abcdefg"],
            [None, 4, 4, 4, None, 7, 7],
        ),
        (["first", "b"], ["first", "b"], None),
    ],
)
def test_postgres_makes_the_route_of_a_blueprint(
    world: World, blueprint: Sequence[object], steps: list[str], past: list[int | None] | None
) -> None:
    world.seed(1)
    row = world.sql(
        "UPDATE batches SET blueprint = %(it)s::jsonb RETURNING steps, past",
        it=json.dumps(blueprint),
    )
    assert row == [{"steps": steps, "past": past}]


def test_the_code_of_the_revision_before_finds_no_waterfall(world: World, url: str) -> None:
    """It would ask every member for every company. So such a batch is cancelled; others go on."""
    world.seed(2, THEN_B, name="routed")
    world.seed(["other"], ["normalize", "step_b"], name="plain")
    world.tick()
    ends(world, "normalize", Status.FAILED, Status.COMPLETED, Status.COMPLETED)
    command.downgrade(config(url), "0023")
    (batch,) = world.sql("SELECT status, blueprint FROM batches WHERE name = 'routed'")
    assert batch == {"status": "CANCELLED", "blueprint": ["normalize", "step_a", "step_b"]}
    upgrade_schema(url)
    finish(world)
    assert world.operator.batch("plain").status == BatchStatus.FINISHED
    assert world.statuses() == {"FAILED": 1, "COMPLETED": 3, "CANCELLED": 2}
