"""What is written of a call: late, twice, out of order, or beside a tick."""

from asyncio import to_thread
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from threading import Thread

import psycopg
import pytest
from aiohttp import ClientError

from reconciler.contract.purchases import place_orders
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.contract.store import Store
from reconciler.operator import steering
from tests.paying import (
    PRICE,
    asked,
    cap,
    crowd,
    lose,
    made,
    orders,
    paying,
    receipt,
    register,
    settle,
    staff,
    url_of,
    with_paid_steps,
)
from tests.standins.provider import CUT, DROP, Provider
from tests.world import World, chunk_of
from workers.kit import Company, Paid

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)
HOUR = "interval '1 hour'"


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def test_a_refusal_that_comes_late_does_not_hide_a_call_under_way(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    first = asked(world)
    lose(world)
    asked(world)
    world.worker.receive([receipt(first, 1, 429)])
    register(world, staff)  # and nothing can be recalled any more
    lose(world)
    assert world.statuses() == {"FAILED": 1}


def test_a_refusal_that_comes_late_takes_no_answer_away(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    first = asked(world)
    lose(world)
    second = asked(world)
    world.worker.receive([receipt(second, 2)])
    world.worker.receive([receipt(first, 1, 503)])
    (order,) = orders(world)
    assert (order["answered_at"] is not None, order["charged"]) == (True, PRICE)


def test_a_call_that_was_refused_after_one_was_lost_is_not_given_back(world: World) -> None:
    register(world, staff, recall="key")
    batch = world.operator.batch(world.seed(1, ["staff"]))
    asked(world)
    lose(world)
    world.worker.receive([receipt(asked(world), 2, 500)])
    steering.cancel(world.operator, batch)
    settle(world)
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, PRICE)
    assert orders(world)[0]["unknown_at"] is not None


def test_a_key_is_known_from_the_first_call_that_may_be_charged(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    world.sql(f"UPDATE orders SET sent_at = sent_at - 23 * {HOUR}")
    lose(world)
    asked(world)
    world.sql(f"UPDATE orders SET sent_at = sent_at - {HOUR}")
    lose(world)
    assert world.statuses() == {"FAILED": 1}


@pytest.mark.parametrize("late_first", [True, False])
def test_a_request_that_is_answered_twice_by_its_key_is_booked_once(
    world: World, *, late_first: bool
) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    first = asked(world)
    lose(world)
    answers = [receipt(first, 1), receipt(asked(world), 2)]
    for found in answers if late_first else reversed(answers):
        world.worker.receive([replace(found, once=True)])
    settle(world)
    assert (cap(world)["spent"], cap(world)["beyond"]) == (PRICE, 0)


def test_an_answer_that_was_looked_up_and_comes_late_is_booked_once(world: World) -> None:
    world.seed(1, ["staff"])
    found = asked(world)
    world.worker.receive([replace(receipt(found, 0), once=True)])
    world.worker.receive([receipt(found, 1)])
    settle(world)
    assert (cap(world)["spent"], cap(world)["beyond"]) == (PRICE, 0)


def test_a_receipt_that_is_written_twice_counts_once(world: World) -> None:
    world.seed(1, ["staff"])
    found = asked(world)
    for _ in range(2):
        world.worker.receive([receipt(found, 1)])
    assert orders(world)[0]["charged"] == PRICE


@pytest.mark.parametrize("charge", [0, PRICE, 3 * PRICE])
def test_what_was_unknown_is_known_once_its_answer_comes(world: World, charge: int) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    found = asked(world)
    steering.cancel(world.operator, batch)
    settle(world)
    assert cap(world)["spent"] == PRICE
    world.worker.receive([receipt(found, 1, charge=charge)])
    settle(world)
    (spent,) = world.sql("SELECT * FROM spend")
    assert (spent["bought"], spent["unknown"], spent["hits"], spent["charged"]) == (1, 0, 1, charge)
    assert cap(world)["spent"] + cap(world)["beyond"] == charge
    assert orders(world)[0]["unknown_at"] is None


def test_calls_that_were_refused_do_not_fill_a_cap(world: World) -> None:
    world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 3)")
    world.seed(2, ["staff"])
    world.worker.receive([receipt(asked(world), 1, 500)])
    lose(world)
    assert world.store.claim(world.store.now()) == []
    settle(world)
    assert len(world.store.claim(world.store.now())) == 1


def test_an_order_costs_what_the_claim_has_counted(world: World) -> None:
    """A sync that commits between a claim's two statements changes nothing of it."""
    world.seed(1, ["staff"])
    batch_id = world.rows()[0]["batch_id"]
    about = {"price": Decimal(PRICE), "provider": "acme", "has_orders": True}
    chunk = chunk_of("staff", world.ids(), batch_id, **about)
    world.sql("UPDATE enrichment_registry SET price = 99, provider = 'other'")
    with world.store.transaction() as connection:
        place_orders(connection, [chunk], world.store.now())
    (order,) = orders(world)
    assert (order["price"], order["provider"]) == (PRICE, "acme")
    assert cap(world, "provider:acme/day")["reserved"] == PRICE


def test_an_order_is_not_given_back_under_a_claim(world: World) -> None:
    """It might look at the rows before the claim, and at the orders after it."""
    world.seed(1, ["staff"])
    now = world.store.now()
    with psycopg.connect(url_of(world)) as claiming, Store.connect(url_of(world)) as other:
        claiming.execute(CLAIM_TURN)
        resolving = Thread(target=lambda: other.resolve(now, after_s=0))
        resolving.start()
        world.wait_for_blocked()
        claiming.rollback()
        resolving.join()


@pytest.mark.parametrize("fault", [DROP, CUT])
def test_a_step_that_repeats_a_lost_call_by_itself_is_not_let(
    world: World, provider: Provider, fault: str
) -> None:
    async def stubborn(company: Company, paid: Paid) -> None:
        for _ in range(3):
            try:
                await paid.get(f"{provider.url}/enrich", params={"domain": company.domain})
            except ClientError:
                continue

    provider.do("company-0.example.com", fault)
    world.seed(1, ["staff"])
    world.store.claim(world.store.now())
    world.work(replace(STAFF, function=stubborn))
    lose(world)
    assert world.statuses() == {"FAILED": 1}
    assert provider.calls.total() == 1


def test_what_one_call_bought_for_many_serves_each_of_them_alone(
    world: World, provider: Provider
) -> None:
    """And beside companies for which nothing is bought yet."""
    world.seed(3, ["crowd"])
    seen = made(crowd).function

    async def some(companies: list[Company], paid: Paid) -> dict[int, object]:
        found = await seen(companies, paid)
        return found | {companies[0].id: ValueError("cannot read it")}

    world.store.claim(world.store.now())
    world.work(replace(made(crowd), function=some))
    lose(world)
    world.seed(["new"], ["crowd"], name="beside")
    world.store.claim(world.store.now())
    world.work(made(crowd))
    assert world.statuses() == {"COMPLETED": 4}
    assert provider.charges.total() == provider.calls.total() == 4


def test_the_others_of_a_call_that_is_not_made_may_go_again(
    world: World, provider: Provider
) -> None:
    """One of them was cancelled: no call went out, so that nothing may be charged."""
    world.seed(2, ["crowd"])
    gone = world.operator.batch(world.seed(["gone"], ["crowd"], name="gone"))
    world.store.claim(world.store.now())
    seen = made(crowd).function

    async def late(companies: list[Company], paid: Paid) -> object:
        await to_thread(steering.cancel, world.operator, gone)
        return await seen(companies, paid)

    world.work(replace(made(crowd), function=late))
    lose(world)
    world.store.claim(world.store.now())
    world.work(made(crowd))
    assert world.statuses() == {"COMPLETED": 2, "CANCELLED": 1}
    assert provider.charges.total() == 2


def test_a_call_whose_answers_cannot_be_read_is_given_up(world: World) -> None:
    """Its leases end, and others work its rows."""
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1)])
    lose(world)
    world.store.claim(world.store.now())
    world.sql("ALTER TABLE results.answers RENAME TO elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        world.work(STAFF)
