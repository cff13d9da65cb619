"""What `tracer doctor` and `tracer inspect` say about money: each fault made by a real purchase."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from reconciler.operator.diagnosis.doctor import Finding, examine, money_parts
from reconciler.operator.diagnosis.reason import Code
from reconciler.operator.seeding.batch import Spending
from tests.paying import PLACE, PRICE, made, paying, register, staff, through, with_paid_steps
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal
from tests.world import World
from workers.kit import Company, Paid, StepResult, step

pytestmark = pytest.mark.filled(fill=with_paid_steps)

DEAR = PRICE + 3


class Dear(StepResult, table=True):
    __tablename__ = "dear"
    employees: int | None = None


@step(provider="acme", price=PRICE, timeout_s=5)
async def dear(company: Company, paid: Paid) -> Dear:
    url = f"{PLACE['url']}/enrich"
    answer = await paid.get(url, params={"domain": company.domain}, charge=lambda _: DEAR)
    return Dear(employees=answer.json()["employees"])


@pytest.fixture
def provider(world: World, tracer: Terminal) -> Iterator[Provider]:  # noqa: ARG001 - its settings
    with paying() as found:
        yield found


def findings() -> dict[str, Finding]:
    return {name: examine(name, part) for name, part in money_parts()}


def fault() -> Finding:
    """The only one that there is."""
    (found,) = [finding for finding in findings().values() if not finding.ok]
    assert found.why
    return found


def follow(tracer: Terminal, fix: str | None) -> None:
    """Do as the fix says."""
    assert fix
    for command in fix.split(" && "):
        tracer(*command.split()[1:])


def headlines(tracer: Terminal, batch: str = "batch") -> str:
    return " ".join(tracer("inspect", batch).split())


@pytest.mark.parametrize(
    ("scope", "limit", "fix"),
    [
        ("all", "3", "tracer caps set all 10"),
        ("batch:batch", "3", "tracer caps set batch:batch 10"),
        ("client:ann", "3", "tracer caps set client:ann 10"),
        ("provider:acme", "3/month", "tracer caps set provider:acme 10/month"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_a_full_cap_says_what_waits_and_what_that_needs(
    tracer: Terminal, world: World, scope: str, limit: str, fix: str
) -> None:
    world.seed(5, ["staff"], spending=Spending(client="ann"))
    tracer("caps", "set", scope, limit)
    assert all(finding.ok for finding in findings().values())
    assert tracer.json("inspect", "batch")["caps"] == []
    through(world)
    found = fault()
    assert (found.part, found.code, found.fix) == ("caps", Code.CAP_FULL, fix)
    period = limit.removeprefix("3")
    says = f"The cap of {scope} is full: 1 left of 3{period}, and 4 rows that wait cost 8"
    assert found.says == says
    (seen,) = tracer.json("inspect", "batch")["caps"]
    assert seen == {"code": "cap_full", "says": says, "fix": fix}
    assert f"{says}: run `{fix}`." in headlines(tracer)
    follow(tracer, found.fix)
    through(world)
    assert world.statuses() == {"COMPLETED": 5}
    assert all(finding.ok for finding in findings().values())
    assert "is full" not in headlines(tracer)


@pytest.mark.usefixtures("provider")
def test_each_full_cap_is_named_and_one_fix_raises_them(tracer: Terminal, world: World) -> None:
    world.seed(["a", "b"], ["staff"], name="one")
    world.seed(["c"], ["staff"], name="two")
    for scope in ("batch:one", "batch:two", "all"):
        tracer("caps", "set", scope, "1")
    found = fault()
    assert found.says.count("is full") == 3
    follow(tracer, found.fix)
    through(world)
    assert world.statuses() == {"COMPLETED": 3}


@pytest.mark.usefixtures("provider")
def test_what_is_not_worked_waits_for_no_cap(tracer: Terminal, world: World) -> None:
    world.seed(2, ["staff"])
    tracer("caps", "set", "all", "1")
    assert fault().part == "caps"
    tracer("pause", "batch")
    assert findings()["caps"].ok
    assert tracer.json("inspect", "batch")["caps"] == []


def test_more_caps_than_are_shown_are_counted(tracer: Terminal, world: World) -> None:
    world.sql("UPDATE enrichment_registry SET price = 2 WHERE step_name = 'normalize'")
    for name in "abcde":
        world.seed([name], name=name)
        tracer("caps", "set", f"batch:{name}", "1")
    found = fault()
    assert found.says.endswith(". 2 more are full")
    assert (found.fix or "").count("tracer caps set") == 3


def test_calls_that_may_have_been_charged(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    for number in range(2):
        provider.do(f"company-{number}.example.com", DROP)
    world.seed(3, ["staff"])
    through(world)
    found = fault()
    assert (found.part, found.code) == ("orders", Code.ORDERS_UNKNOWN)
    assert found.says == ("2 calls may have been charged: their answer never came. Worth 4 in all")
    follow(tracer, found.fix)
    assert "company-0" in tracer.out
    tracer("orders", "settle", "--batch", "batch", "--unknown", "--charged", "--yes")
    assert findings()["orders"].ok


def test_a_price_that_is_no_upper_bound(world: World, tracer: Terminal, provider: Provider) -> None:
    register(world, staff, dear)
    world.seed(2, ["staff"], name="as it says")
    through(world)
    assert findings()["prices"].ok
    world.seed(2, ["dear"])
    through(world, dear)
    found = fault()
    assert (found.part, found.code) == ("prices", Code.PRICE_TOO_LOW)
    says = "dear has the price 2, and was charged up to 5: write price=5 in its @step"
    assert (found.says, found.fix) == (says, "tracer steps sync")
    assert any(row["beyond"] for row in tracer.json("caps"))
    register(world, dear, terms=replace(made(dear).terms, price=Decimal(DEAR)))
    assert findings()["prices"].ok
    assert provider.calls.total() == 4
