"""`tracer explain`, from what the database knows: one reason for every state, and its fix."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.contract.claimed import Verdict
from reconciler.operator import steering
from reconciler.operator.diagnosis.evidence import by_name, in_words
from reconciler.spawners.protocol import Refused, Spawned, Unknown
from tests.reconciler.operator.diagnosis.explaining import facts, reason
from tests.world import World

Apply = Callable[[World], object]


def run(*statements: str) -> Apply:
    return lambda world: [world.sql(statement) for statement in statements]


def set_step(**values: object) -> Apply:
    return lambda world: world.operator.set_step("normalize", values)


def claimed(world: World) -> None:
    world.spawner.answer = Spawned("fc-7")
    world.tick()


def refused(world: World) -> None:
    world.spawner.answer = Refused("NotFoundError: no such function")
    world.tick()


def unknown(world: World) -> None:
    world.spawner.answer = Unknown("Modal did not answer within 10 s")
    world.tick()


def begun(world: World) -> None:
    claimed(world)
    world.worker.begin("normalize", world.ids())


def expired(world: World) -> None:
    claimed(world)
    world.sql("UPDATE workflow_states SET lease_expires_at = now() - interval '5 seconds'")


def worked(world: World) -> None:
    claimed(world)
    world.work()


def failed(world: World) -> None:
    world.operator.set_step("normalize", {"max_attempts": 1})
    expired(world)
    world.tick()


def backing_off(world: World) -> None:
    world.operator.set_step("normalize", {"backoff_s": 600, "max_attempts": 4})
    expired(world)
    world.tick()


def in_another_batch(world: World) -> None:
    steering.pause(world.operator, world.operator.batch("batch"))
    world.seed(1, name="other")
    world.tick()
    steering.pause(world.operator, world.operator.batch("batch"), False)


def a_cancel_that_ended_early(world: World) -> None:
    world.sql("UPDATE batches SET status = 'CANCELLED', finished_at = now()")


HELD = (
    "INSERT INTO throttles VALUES ('normalize', now() + interval '1 hour', 1, 4,"
    " '12 of its calls already wait on Modal')"
)
NOT_POLLING = "UPDATE polling SET paused = true"
PAUSED = "UPDATE batches SET paused = true"
NEVER = "UPDATE polling SET ticked_at = NULL"
LONG_AGO = "UPDATE polling SET ticked_at = now() - interval '1 hour'"
NO_BUDGET = "UPDATE enrichment_registry SET max_in_flight = 0"

STATES: dict[str, tuple[Apply, str, str | None]] = {
    "fresh": (run("SELECT 1"), "Its turn has come: the next tick claims normalize", None),
    "refused": (refused, " s): spawn refused: NotFoundError: no such function", "tracer doctor"),
    "unknown": (unknown, "to begin normalize: spawn outcome unknown: Modal did not", None),
    "claimed": (claimed, "Claimed, and not begun: call fc-7 has until ", None),
    "begun": (begun, " s ago) on call fc-7: attempt 1 of 5, and its lease runs until ", None),
    "expired": (expired, "Attempt 1 of 5 of normalize is over: no worker has renewed ", None),
    "done": (worked, "All steps are done: normalize, the last one, was COMPLETED at ", None),
    "failed": (
        failed,
        ", at attempt 1 of 1: no worker began it before its start deadline",
        "tracer retry --company=company-0 batch",
    ),
    "backoff": (
        backing_off,
        ": attempt 1 of 4 failed: no worker began it before its start deadline",
        None,
    ),
    "paused": (
        run(PAUSED),
        "The batch is paused",
        "tracer resume batch",
    ),
    "disabled": (
        set_step(enabled=False),
        "The step normalize is disabled",
        "tracer steps set normalize enabled=true",
    ),
    "withdrawn": (
        run("DELETE FROM enrichment_registry"),
        "The step normalize is not registered",
        "tracer steps sync",
    ),
    "elsewhere": (in_another_batch, "batch 'other' has normalize of this company in flight", None),
    "throttled": (run(HELD), "not take all calls: 12 of its calls already wait", "tracer doctor"),
    "no capacity": (
        run(NO_BUDGET),
        "The capacity of normalize is set to 0",
        "tracer steps set normalize max_in_flight=1",
    ),
    "cancelled": (
        lambda world: steering.cancel(world.operator, world.operator.batch("batch")),
        "normalize was cancelled by an operator at ",
        None,
    ),
    "half cancelled": (
        a_cancel_that_ended_early,
        "cancel of the batch was interrupted before it reached this row",
        "tracer cancel batch",
    ),
    "not polling": (
        run(NOT_POLLING),
        "Polling is paused",
        "tracer interval resume",
    ),
    "not polling, and in backoff": (
        lambda world: [backing_off(world), world.sql(NOT_POLLING)],
        "Polling is paused",
        "tracer interval resume",
    ),
    "not polling, and paused": (
        lambda world: [world.sql(NOT_POLLING), world.sql(PAUSED)],
        "The batch is paused",
        "tracer resume batch",
    ),
    "without intervals": (
        run("DELETE FROM polling"),
        "The table `polling` has lost the row that every tick reads",
        "psql \"$(tracer db url)\" -c 'INSERT INTO polling DEFAULT VALUES'",
    ),
    "failed, and paused": (
        lambda world: [failed(world), world.sql(PAUSED)],
        "normalize FAILED at ",
        "tracer retry --company=company-0 batch && tracer resume batch",
    ),
    "failed, and not polling": (
        lambda world: [failed(world), world.sql(NOT_POLLING)],
        "normalize FAILED at ",
        "tracer retry --company=company-0 batch && tracer interval resume",
    ),
    "never ticked": (run(NEVER), "No loop has ever ticked", "tracer doctor"),
    "silent": (run(LONG_AGO), "No loop has ticked since ", "tracer doctor"),
    "expired, and silent": (
        lambda world: [expired(world), world.sql(LONG_AGO)],
        "No loop has ticked since ",
        "tracer doctor",
    ),
}


@pytest.mark.parametrize(("apply", "says", "fix"), STATES.values(), ids=STATES.keys())
def test_every_state_has_its_reason(world: World, apply: Apply, says: str, fix: str | None) -> None:
    world.seed(1)
    world.store.beat()
    apply(world)
    found = reason(world)
    assert says in found.says
    assert found.fix == fix


def test_a_cancelled_batch_says_so_for_every_row(world: World) -> None:
    world.seed(3, ["normalize", "step_a"])
    world.operator.set_step("normalize", {"max_attempts": 1})
    claimed(world)
    world.work(ids=world.ids()[:1])
    world.sql("UPDATE workflow_states SET lease_expires_at = now() WHERE company_id = 2")
    world.store.reap(world.store.now(), lambda _: Verdict(None, "no answer", "worker_silent"))
    steering.cancel(world.operator, world.operator.batch("batch"))
    assert reason(world, "company-2").says.startswith("normalize was cancelled by an operator at ")
    assert "the batch was cancelled before the next step" in reason(world, "company-0").says
    assert reason(world, "company-1").says.startswith("normalize FAILED")
    assert "its batch was cancelled: it cannot be retried" in reason(world, "company-1").says
    assert reason(world, "company-1").fix is None  # a retry would be refused


def test_a_retry_gives_attempts_that_count_from_one(world: World) -> None:
    world.seed(1)
    failed(world)
    steering.retry(world.operator, world.operator.batch("batch"))
    world.store.beat()
    found = facts(world)
    assert found.tries == 0
    assert found.queued_at
    assert not {"queued_at", "call_id"} & by_name(found).keys()
    assert not {"claimed", "call"} & in_words(found).keys()
    claimed(world)
    assert facts(world).tries == 1
    assert {"claimed", "call"} <= in_words(facts(world)).keys()


def test_what_else_holds_a_row_is_in_the_evidence(world: World) -> None:
    world.seed(1)
    world.sql(PAUSED)
    assert "polling" not in in_words(facts(world))
    world.sql(NOT_POLLING)
    assert in_words(facts(world))["polling"] == "paused"
    world.sql("DELETE FROM polling")
    assert in_words(facts(world))["polling"] == "has no row"


def test_what_completed_waits_for_the_tick_that_advances_it(world: World) -> None:
    world.seed(1, ["normalize", "step_a"])
    worked(world)
    world.store.beat()
    assert "the next tick takes the company to step_a" in reason(world).says
    world.sql("UPDATE polling SET paused = true")
    assert reason(world).says == "Polling is paused"


def test_a_date_is_said_where_it_is_not_today(world: World) -> None:
    world.seed(1)
    backing_off(world)
    world.sql("UPDATE workflow_states SET available_at = now() + interval '50 hours'")
    day = (facts(world).now + timedelta(hours=50)).astimezone()
    assert f"normalize waits until {day:%Y-%m-%d %H:%M:%S} (in 2 days)" in reason(world).says


def test_a_row_that_was_lost_with_a_worker_says_in_which_group_it_goes_out(world: World) -> None:
    world.claimed(1)
    world.worker.begin("normalize", world.ids())
    world.sql("UPDATE workflow_states SET lease_expires_at = now()")
    world.tick()
    (kept,) = world.sql("SELECT error FROM attempts")
    assert kept["error"] == "it shared a worker that died, or fell silent"
    assert in_words(facts(world))["losses"].startswith(
        "1 worker has died that had it: it goes out in a group of 100"
    )
