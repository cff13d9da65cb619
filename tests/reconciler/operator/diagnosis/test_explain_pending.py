"""`tracer explain` of a row that could be claimed: whose turn it is, and who comes before it."""

from reconciler.operator import steering
from tests.reconciler.operator.diagnosis.explaining import facts, reason
from tests.world import World


def in_line(world: World, companies: int = 5, capacity: int = 2) -> None:
    """A batch whose step takes `capacity` rows, and a loop that ticks."""
    world.operator.set_step("normalize", {"max_in_flight": capacity})
    world.seed(companies)
    world.store.beat()


def test_those_before_it_in_its_own_batch(world: World) -> None:
    in_line(world)
    assert [reason(world, f"company-{i}").says[:12] for i in range(3)] == [
        *["Its turn has"] * 2,
        "Not its turn",
    ]
    found = reason(world, "company-4")
    assert found.says == (
        "Not its turn: 4 rows of this batch come before it, and the next tick takes 2 "
        "(0 of 2 are in flight)"
    )
    assert found.fix == "tracer steps set normalize max_in_flight=5"
    world.tick()
    found = reason(world, "company-4")
    assert found.says == "The capacity of normalize is used up: 2 in flight, of 2"
    assert found.fix == "tracer steps set normalize max_in_flight=5"


def test_the_capacity_that_is_said_takes_the_row(world: World) -> None:
    in_line(world, companies=150)
    keys = [row["key"] for row in world.sql("SELECT key FROM companies ORDER BY id")]
    assert reason(world, keys[149]).fix == "tracer steps set normalize max_in_flight=150"
    world.seed([f"x{i}" for i in range(40)], name="other")
    world.tick()
    world.operator.set_step("normalize", {"max_in_flight": 20})
    # Of 2 in flight, one is this batch's: 59 come before it, and the other batch gets as many.
    assert reason(world, keys[60]).fix == "tracer steps set normalize max_in_flight=130"
    world.operator.set_step("normalize", {"max_in_flight": 130})
    world.tick()
    assert facts(world, keys[60]).status == "QUEUED"


def test_a_capacity_that_the_workers_do_not_use_is_not_to_be_raised(world: World) -> None:
    in_line(world, capacity=4)
    steering.pause(world.operator, world.operator.batch("batch"))
    world.seed([f"x{i}" for i in range(2)], name="other")
    world.tick()
    steering.pause(world.operator, world.operator.batch("batch"), False)
    assert reason(world, "company-4").fix == "tracer steps set normalize max_in_flight=7"
    world.sql("UPDATE workflow_states SET queued_at = now() - interval '6 seconds'")
    found = reason(world, "company-4")
    assert found.says.endswith(
        "(2 of 4 are in flight, 2 of them not begun: the workers are the limit)"
    )
    assert found.fix is None
    world.operator.set_step("normalize", {"max_in_flight": 2})
    found = reason(world, "company-4")
    assert found.says == (
        "The capacity of normalize is used up: 2 in flight, of 2, 2 of them not begun: the workers "
        "are the limit"
    )
    assert found.fix is None


def test_an_equal_share_for_every_batch(world: World) -> None:
    in_line(world, capacity=4)
    world.seed([f"x{i}" for i in range(5)], name="other")
    assert reason(world, "company-1").says.startswith("Its turn has come")
    assert reason(world, "company-2").says == (
        "Not its turn: 2 rows of this batch come before it, and the next tick takes 4, 2 of each "
        "of 2 batches (0 of 4 are in flight)"
    )
    world.operator.set_step("normalize", {"max_in_flight": 5})
    assert reason(world, "company-2").says == (
        "normalize is in line for the next tick, which takes one more row of 1 of the 2 batches "
        "of its priority"
    )


def test_a_higher_priority_goes_first(world: World) -> None:
    in_line(world)
    world.seed([f"x{i}" for i in range(7)], name="urgent", priority=3)
    found = reason(world)
    assert found.says == (
        "Not its turn: at least 2 rows of normalize wait in batches of a higher priority, and the "
        "next tick takes 2 (0 of 2 are in flight)"
    )
    assert found.fix == "tracer priority batch 3"
    assert reason(world, "x0", "urgent").says.startswith("Its turn has come")


def test_a_step_that_is_slowed_down_takes_its_allowance(world: World) -> None:
    in_line(world, capacity=100)
    world.sql("INSERT INTO throttles VALUES ('normalize', now(), 2, 0, 'full')")
    found = reason(world, "company-4")
    assert found.says.endswith("takes 2 (it is throttled: workers did not take all its calls)")
    assert found.fix is None


def test_the_same_company_in_a_batch_that_goes_first(world: World) -> None:
    in_line(world, companies=1)
    world.seed(1, name="urgent", priority=1)
    assert "the same company is in line in the batch 'urgent'" in reason(world).says
    assert reason(world, batch="urgent").says.startswith("Its turn has come")


def test_what_the_next_tick_brings_is_said(world: World) -> None:
    world.seed(2, ["step_a", "normalize"], name="first", priority=1)
    world.tick()
    world.work("step_a")
    in_line(world)
    assert reason(world).says == (
        "normalize is in line for the next tick, which first brings 2 rows to it"
    )
    assert reason(world, "company-4").says.startswith("Not its turn: 4 rows")


def test_leases_that_are_over_do_not_use_the_capacity_up(world: World) -> None:
    in_line(world)
    world.tick()
    world.sql("UPDATE workflow_states SET lease_expires_at = now() WHERE status = 'QUEUED'")
    assert reason(world, "company-3").says == (
        "normalize is in line for the next tick, which first judges 2 of normalize whose lease is "
        "over"
    )
    assert reason(world, "company-4").says.startswith("Not its turn: 2 rows")


def test_what_comes_before_is_counted_no_further_than_ten_thousand(world: World) -> None:
    world.seed(1)
    world.store.beat()
    world.sql(
        "WITH c AS (INSERT INTO companies (key) SELECT n::text FROM generate_series(1, 10100) n"
        " RETURNING id), m AS (INSERT INTO batch_companies SELECT 1, id FROM c)"
        " INSERT INTO workflow_states (company_id, step_name, batch_id, position, available_at)"
        " SELECT id, 'normalize', 1, 0, now() - interval '1 day' FROM c"
    )
    found = reason(world)
    assert found.says.startswith("Not its turn: more than 10,000 rows of this batch come before it")
    assert found.fix is None  # no tick takes so many


def test_a_tick_that_is_late_is_said(world: World) -> None:
    in_line(world)
    world.sql("UPDATE polling SET ticked_at = now() - interval '40 seconds'")
    found = reason(world).says
    assert found.startswith("Its turn has come: the next tick claims normalize; the last one was")
    assert found.endswith(" (40 s ago)")
