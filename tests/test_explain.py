"""`tracer explain` and `tracer cancel`: the one reason, its mend, and an operator's word."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.contract.explain import explain
from reconciler.spawners.protocol import Refused, Spawned, Unknown
from tests.terminal import SEED, Terminal
from tests.world import World


def reason(world: World, key: str = "company-0", batch: str = "batch") -> str:
    return explain(world.operator.facts(world.operator.batch(batch), key)).says


def mend(world: World) -> str | None:
    return explain(world.operator.facts(world.operator.batch("batch"), "company-0")).mend


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
    world.sql("UPDATE workflow_states SET lease_expires_at = now()")


def worked(world: World) -> None:
    claimed(world)
    world.work()


def in_another_batch(world: World) -> None:
    world.sql("UPDATE batches SET paused = true")
    world.seed(1, name="other")
    world.tick()
    world.sql("UPDATE batches SET paused = false")


def throttled_elsewhere(world: World) -> None:
    """Its own row was not part of the refused claim."""
    world.operator.set_step("normalize", {"max_in_flight": 0})
    world.sql(
        "INSERT INTO throttles VALUES ('normalize', now() + interval '1 hour', 1, 4,"
        " '12 calls of it are waiting on Modal already')"
    )


def waiting_for_the_budget(world: World) -> None:
    world.operator.set_step("normalize", {"max_in_flight": 1})
    world.seed(["first"], name="first", priority=1)
    world.tick()


def set_step(**values: object) -> Callable[[World], None]:
    return lambda world: world.operator.set_step("normalize", values)


def run(statement: str) -> Callable[[World], None]:
    def apply(world: World) -> None:
        world.sql(statement)

    return apply


STATES: dict[str, tuple[Callable[[World], None], str]] = {
    "fresh": (run("SELECT 1"), "normalize waits for its share of the next tick's claim"),
    "refused": (refused, "since spawn refused: NotFoundError: no such function"),
    "unknown": (
        unknown,
        "to begin normalize: spawn outcome unknown: Modal did not answer within 10 s",
    ),
    "claimed": (claimed, "Claimed, and not begun: call fc-7 has until "),
    "begun": (begun, "Attempt 1 of normalize is running since "),
    "expired": (expired, "Attempt 1 of normalize is over, since no worker has renewed its lease"),
    "done": (worked, "All steps are done: normalize, the last one, is COMPLETED"),
    "paused": (run("UPDATE batches SET paused = true"), "The batch is paused"),
    "disabled": (set_step(enabled=False), "The step normalize is disabled"),
    "withdrawn": (run("DELETE FROM enrichment_registry"), "The step normalize is not registered"),
    "elsewhere": (in_another_batch, "The batch 'other' has normalize of this company in flight"),
    "throttled": (throttled_elsewhere, "not all taken: 12 calls of it are waiting on Modal"),
    "capped": (waiting_for_the_budget, "The budget of normalize is used up: 1 in flight, of 1"),
    "not polling": (run("UPDATE polling SET paused = true"), "Polling is paused"),
    "never ticked": (run("UPDATE polling SET ticked_at = NULL"), "No reconciler has ever ticked"),
    "silent": (
        run("UPDATE polling SET ticked_at = now() - interval '1 hour'"),
        "No reconciler has ticked since ",
    ),
}


@pytest.mark.parametrize(("apply", "says"), STATES.values(), ids=STATES.keys())
def test_every_state_has_its_reason(
    world: World, apply: Callable[[World], None], says: str
) -> None:
    world.seed(1)
    world.store.beat()
    apply(world)
    assert says in reason(world)


def test_what_a_command_would_move_names_it(world: World) -> None:
    world.seed(1)
    world.store.beat()
    world.operator.set_step("normalize", {"enabled": False})
    assert mend(world) == "tracer steps set normalize enabled=true"
    world.operator.set_step("normalize", {"enabled": True, "max_in_flight": 0})
    assert mend(world) == "tracer steps set normalize max_in_flight=1"


def test_a_backoff_is_told_until_when_and_after_what(world: World) -> None:
    world.seed(1)
    world.operator.set_step("normalize", {"start_deadline_s": 1, "backoff_s": 600})
    now = world.store.now()
    world.tick(now)
    world.tick(now + timedelta(seconds=2))
    assert reason(world).startswith("normalize waits until ")
    assert reason(world).endswith("since no worker began it before its start deadline")


def test_a_cancelled_batch_says_so_for_every_row(world: World) -> None:
    world.seed(2, ["normalize", "step_a"])
    claimed(world)
    world.work(ids=world.ids()[:1])
    world.operator.cancel(world.operator.batch("batch"))
    assert reason(world, "company-1") == "normalize was cancelled by an operator"
    assert "the batch was cancelled before the next step" in reason(world, "company-0")
    world.tick()
    assert world.statuses() == {"COMPLETED": 1, "CANCELLED": 1}


def test_explain_and_cancel_on_the_command_line(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED)
    told = tracer.json("explain", "companies", "66740")
    assert (told["step"], told["status"], told["mend"]) == ("normalize", "PENDING", "tracer doctor")
    assert told["reason"] == "No reconciler has ever ticked"
    assert told["evidence"]["attempt"] == 0
    tracer("explain", "companies", "66740")
    assert "No reconciler has ever ticked." in tracer.out
    assert "What would move it: tracer doctor" in tracer.out
    tracer("cancel", "companies", code=2)
    assert "2 rows pending, 0 in flight. Nothing was done: say --yes." in tracer.err
    tracer("cancel", "companies", "--yes")
    assert "2 rows cancelled" in tracer.err
    tracer("cancel", "companies", "--yes", code=2)
    assert "has ended already" in tracer.err
    assert tracer.json("inspect", "companies")["status"] == "CANCELLED"
    tracer("explain", "companies", "no such key", code=2)
    assert "no company with the key 'no such key'" in tracer.err
