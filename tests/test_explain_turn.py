"""`tracer explain` of a row that could be claimed: whose turn it is, and who comes before it."""

from tests.explaining import reason
from tests.world import World


def in_line(world: World, companies: int = 5, budget: int = 2) -> None:
    """A batch whose step takes `budget` rows, and a loop that ticks."""
    world.operator.set_step("normalize", {"max_in_flight": budget})
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
    assert found.mend == "tracer steps set normalize max_in_flight=4"
    world.tick()
    assert "budget of normalize is used up: 2 in flight, of 2" in reason(world, "company-4").says


def test_an_equal_share_for_every_batch(world: World) -> None:
    in_line(world, budget=4)
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
    assert found.mend == "tracer priority batch 3"
    assert reason(world, "x0", "urgent").says.startswith("Its turn has come")


def test_a_step_that_is_slowed_down_takes_its_allowance(world: World) -> None:
    in_line(world, budget=100)
    world.sql("INSERT INTO throttles VALUES ('normalize', now(), 2, 0, 'full')")
    found = reason(world, "company-4")
    assert found.says.endswith("takes 2 (it is slowed down after spawns that were not all taken)")
    assert found.mend is None


def test_the_same_company_in_a_batch_that_goes_first(world: World) -> None:
    in_line(world, companies=1)
    world.seed(1, name="urgent", priority=1)
    assert "so is that of the same company in the batch 'urgent'" in reason(world).says
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


def test_leases_that_are_over_do_not_use_the_budget_up(world: World) -> None:
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
    found = reason(world).says
    assert found.startswith("Not its turn: more than 10,000 rows of this batch come before it")


def test_a_tick_that_is_late_is_said(world: World) -> None:
    in_line(world)
    world.sql("UPDATE polling SET ticked_at = now() - interval '40 seconds'")
    found = reason(world).says
    assert found.startswith("Its turn has come: the next tick claims normalize; the last one was")
    assert found.endswith(" (40 s ago)")
