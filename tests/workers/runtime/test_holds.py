"""A step that is at fault for every company is held: nobody fails, and nobody is paid for twice."""

import logging
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from reconciler.contract.results import Company
from reconciler.schema.steps import sync_steps
from tests.reconciler.operator.diagnosis.explaining import reason
from tests.terminal import Terminal
from tests.world import STEPS, World, doing, wait_until
from workers.kit import NotFound, PermanentError, RetryAfter, Step
from workers.runtime.calls import WorkReport
from workers.runtime.runtime import Runtime
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA

CALLED: list[str] = []


@pytest.fixture(autouse=True)
def _uncalled() -> None:
    CALLED.clear()


def calling(change: str = "", world: World | None = None, concurrency: int = 100) -> Step:
    """`normalize`, which notes whom it is called for; `change` is done by the first call."""

    def function(company: Company) -> Normalized:
        if change and world and not CALLED:
            world.sql(change)
        elif change and world:
            wait_until(lambda: world.worker.is_held("normalize"))
            time.sleep(0.05)  # the worker itself knows a moment later
        CALLED.append(company.key)
        return Normalized(short_name=company.key)

    return doing(function, concurrency=concurrency)


def unharmed(world: World, companies: int) -> None:
    """All wait as before, no attempt is used, and no tick claims them."""
    assert world.statuses() == {"PENDING": companies}
    assert {row["attempt"] - row["forgiven"] for row in world.rows()} == {0}
    assert {row["error"] for row in world.rows()} == {None}
    world.store.beat()
    assert world.tick().claimed == 0


MISFITS = {
    "the table is missing": (
        "DROP TABLE results.normalized",
        "The table results.normalized is missing",
    ),
    "the class has gained a column": (
        "ALTER TABLE results.normalized DROP COLUMN legal_form",
        "The column results.normalized.legal_form is missing",
    ),
    "a column's type has changed": (
        "ALTER TABLE results.normalized ALTER COLUMN legal_form TYPE int USING 1",
        "The column results.normalized.legal_form is of type int4, and the step's class has"
        " another",
    ),
    "a column that must not be null is no field": (
        "ALTER TABLE results.normalized ADD COLUMN extra text NOT NULL",
        "The column results.normalized.extra must not be null, and the step's class has no such"
        " field",
    ),
}


@pytest.mark.parametrize(("change", "says"), MISFITS.values(), ids=MISFITS)
def test_a_table_that_does_not_fit_is_known_before_the_first_call(
    world: World, change: str, says: str
) -> None:
    world.sql(change)
    world.claimed(3)
    assert world.work(calling()) == WorkReport()
    assert CALLED == []
    unharmed(world, 3)
    found = reason(world)
    assert found.says == f"The step normalize is held: {says}"
    assert (found.code, found.fix) == ("step_held", "tracer steps sync")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE results.normalized ALTER COLUMN legal_form TYPE text",
        "ALTER TABLE results.normalized ALTER COLUMN legal_form TYPE varchar(90)",
        "ALTER TABLE results.normalized ADD COLUMN extra text",
        "ALTER TABLE results.normalized ADD COLUMN extra text NOT NULL DEFAULT 'x'",
    ],
)
def test_a_table_that_takes_all_results_holds_nothing(world: World, change: str) -> None:
    world.sql(change)
    world.claimed(2)
    assert world.work(calling()).completed == 2


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE results.normalized",
        "ALTER TABLE results.normalized DROP COLUMN short_name",
        "ALTER TABLE results.normalized ALTER COLUMN short_name TYPE int USING 1",
    ],
)
def test_a_table_that_changes_in_mid_batch_fails_nobody(world: World, change: str) -> None:
    world.claimed(30)
    step = calling(change, world, concurrency=1)
    assert world.work(step).failed == 0
    assert 2 <= len(CALLED) < 30  # some calls may begin just as the step is held
    unharmed(world, 30)


def test_a_table_of_an_input_is_missed_before_the_call_too(world: World) -> None:
    step = STEPS["step_b"]
    assert [taken.table for taken in step.inputs] != []
    world.sql(f"DROP TABLE {step.inputs[0].table.__table__}")  # type: ignore[attr-defined]
    world.seed(2, ["step_b"])
    world.tick()
    assert world.work(step) == WorkReport()
    assert world.statuses() == {"PENDING": 2}


def test_another_step_goes_on_beside_one_that_is_held(world: World) -> None:
    world.sql("DROP TABLE results.normalized")
    world.seed(2, ["step_a"])
    world.seed(2, name="held")
    world.tick()
    world.work(calling())
    assert world.work("step_a").completed == 2


def test_the_worker_says_once_what_is_missing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    world.sql("DROP TABLE results.normalized")
    world.claimed(2)
    first, second = world.ids()
    world.work(calling(), [first])
    world.work(calling(), [second])
    assert [r.getMessage() for r in caplog.records if r.name == "tracer.worker"] == [
        "normalize is held: The table results.normalized is missing"
    ]


def test_what_is_claimed_of_a_held_step_is_given_back_by_any_worker(world: World) -> None:
    world.claimed(2)
    world.sql("INSERT INTO holds VALUES ('normalize', 'failures', 'a bug')")
    assert world.work(calling()) == WorkReport()
    unharmed(world, 2)


def test_a_sync_mends_the_table_and_lets_the_step_go_on(world: World, url: str) -> None:
    world.sql("DROP TABLE results.normalized")
    world.claimed(2)
    world.work(calling())
    assert sync_steps(url, STEPS) == [
        "Table results.normalized created",
        "Step normalize goes on: it was held",
    ]
    assert world.tick().claimed == 2
    assert world.work(calling()).completed == 2


def test_a_sync_lifts_no_hold_for_another_reason(world: World, url: str) -> None:
    world.sql("INSERT INTO holds VALUES ('normalize', 'failures', 'a bug')")
    assert sync_steps(url, STEPS) == []
    assert world.operator.resume_step("normalize")


def test_a_person_sees_that_a_step_is_held_and_lets_it_go_on(
    world: World, tracer: Terminal
) -> None:
    world.seed(1)
    world.sql("INSERT INTO holds VALUES ('normalize', 'failures', 'a bug')")
    says = "The step normalize is held: a bug: run `tracer steps resume normalize`."
    tracer("steps")
    assert says in tracer.err.replace("\n", " ")
    assert says in tracer("inspect", "batch").replace("\n", " ")
    (held,) = tracer.json("inspect", "batch")["held"]
    assert (held["step"], held["code"]) == ("normalize", "step_held")
    found = {part["part"]: part for part in tracer.json("doctor", code=1)}
    assert found["batches"]["code"] == "step_held"
    assert "a running batch needs it" in found["batches"]["says"]
    answer = {"step": "normalize", "changed": True}
    assert tracer.json("steps", "resume", "normalize") == answer
    assert tracer.json("steps", "resume", "normalize") == answer | {"changed": False}
    tracer("steps", "resume", "normalise", code=2)
    assert "Did you mean 'normalize'?" in tracer.err


def test_a_table_that_is_only_read_may_have_other_columns(world: World) -> None:
    world.sql("ALTER TABLE results.normalized DROP COLUMN legal_form")
    assert world.worker.lacks(StepA, [Normalized]) is None


def failing(good: int | None = None) -> Step:
    """`normalize`, which fails after its call for all but every `good`th company."""

    def function(company: Company) -> Normalized:
        CALLED.append(company.key)
        if good and len(CALLED) % good == 0:
            return Normalized()
        raise ValueError(company.key)

    return doing(function, concurrency=1)


def held(world: World) -> list[tuple[str, str]]:
    found = world.sql("SELECT kind, reason FROM holds ORDER BY step_name")
    return [(row["kind"], row["reason"]) for row in found]


def test_a_step_that_fails_for_every_company_is_held(world: World) -> None:
    world.operator.set_step("normalize", {"hold_after": 4})
    world.claimed(30)

    def function(company: Company) -> Normalized:
        if len(CALLED) == 4:
            wait_until(lambda: world.worker.is_held("normalize"))
        CALLED.append(company.key)
        raise ValueError(f"no employees in the answer for {company.key}")

    assert world.work(doing(function, concurrency=1)).failed == 5
    assert held(world) == [("failures", "4 companies in a row failed alike: ValueError")]
    assert len(CALLED) == 5
    world.tick()
    assert world.statuses() == {"PENDING": 30}
    assert reason(world).fix == "tracer steps resume normalize"


def test_a_result_that_never_fits_is_paid_for_a_few_times(world: World) -> None:
    world.operator.set_step("normalize", {"hold_after": 4})
    world.sql("ALTER TABLE results.normalized ADD CHECK (short_name <> 'x')")
    world.claimed(9)
    assert world.work(doing(lambda _: Normalized(short_name="x"))).failed == 9
    assert held(world) == [("failures", "4 companies in a row failed alike: CheckViolation")]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: failing(good=3), "a result comes between"),
        (lambda: raising_by_turns(ValueError("a"), KeyError("b")), "they are not alike"),
        (lambda: raising_by_turns(PermanentError("no such company")), "its author says so"),
        (lambda: raising_by_turns(RetryAfter(60)), "the other side is busy"),
        (lambda: raising_by_turns(ValueError("a"), NotFound()), "others are not found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_streak_holds_nothing(world: World, make: Callable[[], Step], why: str) -> None:
    world.operator.set_step("normalize", {"hold_after": 4})
    world.claimed(12)
    assert world.work(make()).begun == 12, why
    assert held(world) == []


def raising_by_turns(*errors: Exception) -> Step:
    def function(company: Company) -> Normalized:
        CALLED.append(company.key)
        raise errors[len(CALLED) % len(errors)]

    return doing(function, concurrency=1)


def test_one_company_is_no_streak_however_often_it_is_tried(world: World) -> None:
    world.operator.set_step("normalize", {"hold_after": 3, "backoff_s": 0})
    world.claimed(2)
    with closing(Runtime(world.worker)) as runtime:
        for _ in range(4):
            runtime.submit(failing(), world.ids()).done.result()
            world.tick()
    assert len(CALLED) == 8
    assert held(world) == []


def test_0_switches_it_off(world: World) -> None:
    world.operator.set_step("normalize", {"hold_after": 0})
    world.claimed(60)
    assert world.work(failing()).failed == 60
    assert held(world) == []
