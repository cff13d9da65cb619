"""Why a row that costs something is where it is."""

from collections.abc import Iterator

import pytest

from reconciler.operator.diagnosis.reason import Code
from reconciler.operator.seeding.batch import Spending
from tests.paying import paying, through, with_paid_steps
from tests.reconciler.operator.diagnosis.explaining import facts, reason, told
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.mark.parametrize(
    ("scope", "limit", "fix"),
    [
        ("all", "3", "tracer caps set all 4"),
        ("batch:batch", "3", "tracer caps set batch:batch 4"),
        ("client:ann", "3", "tracer caps set client:ann 4"),
        ("provider:acme", "3/day", "tracer caps set provider:acme 4/day"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_a_cap_that_is_full_is_named_with_what_raises_it(
    tracer: Terminal, world: World, scope: str, limit: str, fix: str
) -> None:
    world.seed(2, ["staff"], spending=Spending(client="ann"))
    tracer("caps", "set", scope, limit)
    through(world)
    world.store.beat()
    found = reason(world, "company-1")
    assert (found.code, found.fix) == (Code.CAP_FULL, fix)
    assert "1 left of 3" in found.says
    tracer(*fix.split()[1:])
    through(world)
    assert world.statuses() == {"COMPLETED": 2}


@pytest.mark.usefixtures("provider")
def test_the_fix_of_a_full_cap_moves_the_row_though_others_go_first(
    tracer: Terminal, world: World
) -> None:
    tracer("caps", "set", "all", "1")
    world.seed(["a", "b", "c"], ["staff"], name="high", priority=5)
    world.seed(["d"], ["staff"], name="low")
    world.seed(["e"], ["staff"], name="lowest", priority=-5)
    world.store.beat()
    (first, low) = reason(world, "a", "high"), reason(world, "d", "low")
    assert (first.fix, "other" in first.says) == ("tracer caps set all 2", False)
    assert low.says.endswith("costs 2. 3 other rows wait for it too, and may go first")
    assert low.fix == "tracer caps set all 8"
    (found,) = told(tracer, "low", "d")["evidence"]["full_caps"]
    assert (found["scope"], found["rows"], found["cost"]) == ("all", 3, 8)
    assert "This command would move it: tracer caps set all 8" in tracer("explain", "low", "d")
    tracer("caps", "set", "all", "2")
    through(world)
    assert world.rows("status = 'COMPLETED'")[0]["batch_id"] == 1
    assert reason(world, "d", "low").fix == "tracer caps set all 8"
    tracer("caps", "set", "all", "8")
    through(world)
    assert world.rows("status = 'PENDING'")[0]["batch_id"] == 3


@pytest.mark.usefixtures("provider")
def test_rows_of_a_batch_wait_for_a_cap_in_their_order(tracer: Terminal, world: World) -> None:
    tracer("caps", "set", "all", "0")
    world.seed(3, ["staff"])
    world.store.beat()
    fixes = [reason(world, f"company-{number}").fix for number in range(3)]
    assert fixes == [f"tracer caps set all {limit}" for limit in (2, 4, 6)]


@pytest.mark.usefixtures("provider")
def test_a_row_of_another_step_may_go_first_whatever_its_priority(
    tracer: Terminal, world: World
) -> None:
    tracer("caps", "set", "all", "0")
    world.seed(["a"], ["staff"], name="batch", priority=5)
    world.seed(["b"], ["census"], name="other")
    world.store.beat()
    assert reason(world, "a").fix == "tracer caps set all 4"


@pytest.mark.usefixtures("provider")
def test_a_cap_that_would_be_full_next_is_raised_too(tracer: Terminal, world: World) -> None:
    tracer("caps", "set", "all", "0")
    world.seed(2, ["staff"])
    tracer("caps", "set", "batch:batch", "2")
    tracer("caps", "set", "provider:acme", "4/day")  # has room for both
    world.store.beat()
    found = reason(world, "company-1")
    assert found.says.startswith("The cap of all is full: 0 left of 0, and staff costs 2. 1 other")
    assert "batch:batch" not in found.says
    assert found.fix == "tracer caps set all 4 && tracer caps set batch:batch 4"
    for command in found.fix.split(" && "):
        tracer(*command.split()[1:])
    through(world)
    assert world.statuses() == {"COMPLETED": 2}


@pytest.mark.usefixtures("provider")
def test_a_reused_row_says_whose_answer_it_has(world: World) -> None:
    world.seed(1, ["staff"])
    through(world)
    world.seed(1, ["staff"], name="again")
    through(world)
    assert "with the answer that the batch 'batch' got at" in reason(world, batch="again").says
    assert "with the answer" not in reason(world).says


def test_a_call_that_may_be_charged_names_its_order(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    provider.do("company-0.example.com", DROP)
    world.seed(1, ["staff"])
    through(world)
    found = reason(world)
    assert found.code == Code.MAY_BE_CHARGED
    assert found.fix == "tracer retry --unknown --company=company-0 batch"
    assert f"tracer orders settle {facts(world).lost_order}" in found.says
    assert told(tracer)["code"] == "may_be_charged"
    assert found.fix
    tracer(*found.fix.split()[1:], "--yes")
    through(world)
    assert world.statuses() == {"COMPLETED": 1}


def test_a_batch_shows_what_it_costs_where_something_has_a_price(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    world.seed(1, name="free")
    assert "spent" not in tracer("batches") + tracer("inspect", "free")
    assert tracer.json("inspect", "free")["spent"] is None
    world.seed(3, ["staff"])
    tracer("caps", "set", "batch:batch", "1500")
    through(world)
    assert provider.calls.total() == 3
    (row,) = [row for row in tracer.json("batches") if row["name"] == "batch"]
    assert (row["spent"], row["reserved"], row["cap"]) == (6, 0, 1500)
    assert "6 of 1,500 spent" in tracer("inspect", "batch")
    assert "1,500" in tracer("batches")
