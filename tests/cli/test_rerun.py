"""`tracer rerun` and `reparse`: what they may cost is said before they ask, and is true."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from reconciler.schema.steps import sync_steps
from tests.paying import PRICE, cap, paying, staff, through, url_of, with_paid_steps
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal
from tests.world import STEPS, World
from workers import providers
from workers.kit import Terms

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = ("rerun", "batch", "--step", "staff")
NORMALIZE = ("rerun", "batch", "--step", "normalize")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def said(tracer: Terminal) -> str:
    return " ".join(tracer.err.split())


def asked(tracer: Terminal, *words: str) -> str:
    """What it says before it asks."""
    tracer(*words, code=2)
    return said(tracer).removesuffix(" Nothing was done: add --yes.")


def bought(world: World, tracer: Terminal, *words: str, step: Any = staff) -> dict[str, Any]:
    """The document, after what it does has been done; with what the caps have counted since."""
    before = cap(world)["spent"]
    done: dict[str, Any] = tracer.json(*words, "--yes")
    through(world, step)
    assert cap(world)["reserved"] == 0
    return {**done, "spent": cap(world)["spent"] - before}


def cost(rows: int, kept: int, calls: int, spent: int) -> dict[str, Any]:
    about = {"batch": "batch", "rows": rows, "kept": kept, "paused": False}
    of_calls = {"calls": calls, "price": PRICE if calls else 0, "highest_cost": PRICE * calls}
    return {**about, **of_calls, "spent": spent}


def test_a_rerun_that_buys_says_how_many_calls_at_which_price(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    provider.unknown = {"company-2.example.com"}  # a miss costs nothing
    world.seed(3, ["staff"])
    through(world)
    assert asked(tracer, *STAFF, "--buy") == (
        "Works batch: 3 rows of staff again, and buys anew: "
        "up to 3 calls of staff at 2 each, 6 at most."
    )
    assert bought(world, tracer, *STAFF, "--buy") == cost(3, 3, 3, 2 * PRICE)
    assert provider.calls.total() == 6


def test_a_rerun_without_buy_counts_what_is_not_kept(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    world.seed(3, ["staff"])
    through(world)
    assert asked(tracer, *STAFF) == "Works batch: 3 rows of staff again, and buys nothing."
    assert bought(world, tracer, *STAFF) == cost(3, 3, 0, 0)
    world.sql("UPDATE orders SET superseded_at = now() WHERE company_id = 1")
    says = "buys what is not kept: up to 1 call of staff at 2 each, 2 at most."
    assert asked(tracer, *STAFF) == f"Works batch: 3 rows of staff again, and {says}"
    assert bought(world, tracer, *STAFF) == cost(3, 2, 1, PRICE)
    assert provider.calls.total() == 4


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        ("SELECT 1", 0),
        ("UPDATE enrichment_registry SET fresh_for_s = 1e-6", 2),
        ("UPDATE companies SET changed_at = now() WHERE id = 1", 1),
        ("UPDATE batches SET buy = '{staff}' WHERE name = 'batch'", 2),
    ],
)
@pytest.mark.usefixtures("provider")
def test_an_answer_of_another_batch_counts_while_it_is_fresh(
    tracer: Terminal, world: World, change: str, calls: int
) -> None:
    for name in ("first", "batch"):
        world.seed(2, ["staff"], name=name)
        through(world)
    world.sql(change)
    assert bought(world, tracer, *STAFF) == cost(2, 2, calls, calls * PRICE)


@pytest.mark.parametrize("buy", [(), ("--buy",)])
def test_a_call_that_may_have_been_charged_is_not_counted(
    tracer: Terminal, world: World, provider: Provider, buy: tuple[str, ...]
) -> None:
    provider.do("company-0.example.com", DROP)
    world.seed(1, ["staff"])
    through(world)
    assert bought(world, tracer, *STAFF, *buy) == cost(1, 0, 0, 0)
    assert provider.calls.total() == 1


@pytest.mark.usefixtures("provider")
def test_a_step_that_calls_without_paid_buys_all_again(tracer: Terminal, world: World) -> None:
    calling = replace(
        STEPS["normalize"], provider=providers.Provider("acme"), terms=Terms(price=Decimal(PRICE))
    )
    sync_steps(url_of(world), {"normalize": calling})
    world.seed(2, ["normalize"])
    through(world, calling)
    tracer("reparse", "batch", "--step", "normalize")
    assert "no row with a kept answer" in said(tracer)
    again = bought(world, tracer, *NORMALIZE, step=calling)
    assert again == cost(2, 0, 2, 2 * PRICE)


@pytest.mark.usefixtures("provider")
def test_a_step_without_a_price_costs_nothing_and_has_nothing_to_buy(
    tracer: Terminal, world: World
) -> None:
    world.seed(1, ["normalize"])
    through(world, STEPS["normalize"])
    assert asked(tracer, *NORMALIZE) == "Works batch: 1 row of normalize again, and buys nothing."
    assert "normalize, which keeps no answers: it always runs" in asked(tracer, *NORMALIZE, "--buy")


@pytest.mark.usefixtures("provider")
def test_the_price_is_the_one_that_is_known_now(tracer: Terminal, world: World) -> None:
    world.seed(2, ["staff"])
    through(world)
    world.sql("UPDATE enrichment_registry SET price = 0.125 WHERE step_name = 'staff'")
    assert "2 calls of staff at 0.125 each, 0.25 at most" in asked(tracer, *STAFF, "--buy")


@pytest.mark.usefixtures("provider")
def test_a_reparse_costs_nothing(tracer: Terminal, world: World) -> None:
    world.seed(2, ["staff"])
    through(world)
    done = bought(world, tracer, "reparse", "batch", "--step", "staff")
    assert done == cost(2, 2, 0, 0)
