"""The tick: level-triggered, set-based, and every outcome of a dispatch written down."""

from datetime import timedelta

import pytest

from reconciler.contract.claimed import LIMIT, Verdict
from reconciler.operator import views
from reconciler.spawners.protocol import Refused, Spawned, Unknown
from tests.world import World

BLUEPRINT = ("normalize", "step_a", "step_b")


def run_through(world: World) -> None:
    """Ticks and work until nothing moves."""
    moving = True
    while moving:
        for step in BLUEPRINT:
            world.work(step)
        moving = bool(world.tick())


def test_a_batch_goes_through_its_blueprint(world: World) -> None:
    name = world.seed(7, BLUEPRINT)
    run_through(world)
    progress = views.progress(world.operator, world.operator.batch(name))
    assert progress["status"] == "FINISHED"
    assert [step["COMPLETED"] for step in progress["steps"]] == [7, 7, 7]
    for table in ("normalized", "step_a", "step_b"):
        assert len(world.sql(f"SELECT * FROM results.{table}")) == 7


def test_a_tick_with_nothing_to_do_does_nothing(world: World) -> None:
    assert not world.tick()
    assert world.sql("SELECT * FROM ticks") == []


def test_a_second_tick_repeats_nothing(world: World) -> None:
    world.seed(3)
    assert world.tick().claimed == 3
    assert not world.tick()


def test_a_tick_writes_down_what_it_did(world: World) -> None:
    world.seed(3)
    world.tick()
    row = world.sql("SELECT * FROM ticks")[0]
    assert (row["claimed"], row["spawned"], row["released"]) == (3, 3, 0)
    assert row["duration_ms"] > 0


def test_advance_seeds_the_next_step_once(world: World) -> None:
    world.seed(2, BLUEPRINT)
    world.tick()
    for company_id in world.ids():
        world.work(ids=[company_id])
        assert world.store.advance(world.store.now()) == 1
    assert world.store.advance(world.store.now()) == 0
    assert [(r["step_name"], r["status"]) for r in world.rows("position = 1")] == [
        ("step_a", "PENDING")
    ] * 2


def test_a_failed_company_goes_no_further_and_the_batch_still_finishes(world: World) -> None:
    world.seed(2, BLUEPRINT)
    world.tick()
    world.sql(
        "UPDATE workflow_states SET status = 'FAILED', finished_at = now(), lease_expires_at = NULL"
        " WHERE company_id = %(id)s",
        id=world.ids()[0],
    )
    run_through(world)
    assert world.statuses() == {"FAILED": 1, "COMPLETED": 3}
    assert world.operator.batch("batch").status == "FINISHED"


def test_a_batch_ends_with_its_last_step_though_another_goes_on(world: World) -> None:
    world.operator.set_step("normalize", {"max_in_flight": 4})
    world.seed(["a"], name="small")
    world.seed(20, name="large")
    assert world.tick().claimed == 4
    world.work()
    report = world.tick()
    assert (report.advanced, report.claimed, report.finished) == (4, 4, 1)
    assert world.operator.batch("small").status == "FINISHED"


def test_a_refused_spawn_goes_back_with_backoff_and_reason(world: World) -> None:
    world.seed(2)
    world.spawner.answer = Refused("no such function")
    report = world.tick()
    assert (report.claimed, report.released, report.spawned) == (2, 2, 0)
    row = world.rows()[0]
    assert (row["status"], row["attempt"]) == ("PENDING", 0)
    assert row["error"] == "spawn refused: no such function"
    assert row["available_at"] > world.store.now()
    assert not world.tick()


def test_a_spawn_of_unknown_outcome_stays_queued_and_can_still_be_worked(world: World) -> None:
    world.seed(2)
    world.spawner.answer = Unknown("timed out")
    assert world.tick().unknown == 2
    assert {(r["status"], r["error"]) for r in world.rows()} == {
        ("QUEUED", "spawn outcome unknown: timed out")
    }
    assert world.work().completed == 2


def test_a_calls_id_is_kept_on_its_rows(world: World) -> None:
    world.seed(2)
    world.spawner.answer = Spawned("fc-1")
    world.tick()
    assert {row["call_id"] for row in world.rows()} == {"fc-1"}


def test_an_expired_lease_is_retried_after_backoff_until_attempts_are_used_up(world: World) -> None:
    world.seed(1)
    world.operator.set_step("normalize", {"max_attempts": 2, "backoff_s": 10, "backoff_max_s": 10})
    now = world.store.now()
    world.tick(now)
    later = now + timedelta(seconds=301)  # the start deadline is 300 s
    assert world.tick(later).retried == 1
    row = world.rows()[0]
    assert row["status"] == "PENDING"
    assert row["error"] == "no worker began it before its start deadline"
    assert timedelta(seconds=5) <= row["available_at"] - later <= timedelta(seconds=10)
    again = later + timedelta(seconds=11)
    assert world.tick(again).claimed == 1
    assert world.tick(again + timedelta(seconds=301)).failed == 1
    assert world.rows()[0]["status"] == "FAILED"
    assert world.operator.batch("batch").status == "FINISHED"


def test_a_running_lease_is_left_alone(world: World) -> None:
    world.seed(1)
    now = world.store.now()
    world.tick(now)
    soon = now + timedelta(seconds=299)
    assert not world.tick(soon)
    assert world.store.reap(soon, lambda _: Verdict(soon, "expired", "worker_silent")) == (
        0,
        0,
    )


ENDED = "lease_expires_at = NULL, finished_at = now()"
SIGHTS = {
    "all is with the workers": "SELECT",
    "a batch is paused": "UPDATE batches SET paused = true",
    "a step is disabled": "UPDATE enrichment_registry SET enabled = false",
    "a step is held": "INSERT INTO holds VALUES ('normalize', 'failures', 'a bug')",
    "rows wait": "UPDATE workflow_states SET available_at = now() + interval '1 hour'",
    "a batch was cancelled by hand": "UPDATE batches SET status = 'CANCELLED', finished_at = now()",
    "a batch was ended by hand": "WITH ended AS (UPDATE batches SET status = 'FINISHED',"
    f" finished_at = now()) UPDATE workflow_states SET status = 'COMPLETED', {ENDED}",
    "calls are cancelled": "UPDATE workflow_states SET status = 'CANCELLED',"
    " call_cancelled = true,"
    f" call_id = 'fc-1', {ENDED}",
    "rows are advanced": "UPDATE workflow_states SET status = 'COMPLETED', advanced = true,"
    f" {ENDED}",
    "rows failed": f"UPDATE workflow_states SET status = 'FAILED', {ENDED}",
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_an_idle_tick_is_two_statements(world: World, sent: list[object], sight: str) -> None:
    world.seed(3, BLUEPRINT)
    world.sql(SIGHTS[sight])
    world.tick()
    sent.clear()
    assert not world.tick(world.store.beat().now)
    assert len(sent) == 2


@pytest.mark.parametrize("many", [2_000, pytest.param(100_000, marks=pytest.mark.proof)])
def test_the_number_of_statements_does_not_grow_with_the_rows(
    world: World, sent: list[object], many: int
) -> None:
    def statements(companies: int, name: str) -> int:
        """Those of a tick that reaps, advances, claims, releases and finishes so many rows, or as
        many as one tick takes."""
        world.seed([f"{name}-{i}" for i in range(companies)], BLUEPRINT, name=name)
        world.tick()
        world.work()
        world.spawner.answer = Refused("full")
        sent.clear()
        report = world.tick()
        world.spawner.answer = Spawned("fc-1")
        world.sql("UPDATE batches SET paused = true")
        world.sql("DELETE FROM throttles")
        assert report.advanced == min(companies, LIMIT)
        assert report.claimed == report.released >= report.advanced
        return len(sent)

    for step in BLUEPRINT:
        world.operator.set_step(step, {"max_in_flight": 100_000})
    assert statements(10, "small") == statements(many, "large") < 20
