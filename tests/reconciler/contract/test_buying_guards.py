"""Each guard of the workers' statements about money: whose order it is, what is charged once."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from uuid import UUID

import pytest

from tests.paying import (
    ANOTHERS,
    ANSWERED,
    NOT_PAID,
    OVER,
    PRICE,
    Staff,
    asked,
    begun,
    by_result,
    claimed,
    crowd,
    lose,
    made,
    orders,
    paying,
    receipt,
    register,
    staff,
    with_paid_steps,
)
from tests.standins.provider import Provider
from tests.world import World
from workers.paid import Answer, Asking

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.mark.parametrize("change", [*ANOTHERS, *OVER])
def test_no_call_is_sent_for_an_order_that_is_not_the_attempts(world: World, change: str) -> None:
    world.seed(1, ["staff"])
    found = claimed(world)
    world.sql(f"UPDATE orders SET {change}")
    assert world.worker.send([found]) == {}
    assert orders(world)[0]["tries"] == 0


def test_a_call_that_a_tick_takes_away_meanwhile_is_not_sent(world: World) -> None:
    world.seed(1, ["staff"])
    found = claimed(world)
    sent: list[dict[UUID, int]] = []
    worker = Thread(target=lambda: sent.append(world.worker.send([found])))
    with world.operator.transaction() as tick:
        tick.execute("UPDATE orders SET for_batch = NULL, for_attempt = NULL")
        worker.start()
        world.wait_for_blocked()
    worker.join()
    assert sent == [{}]


@pytest.mark.parametrize("change", ["status = 'QUEUED'", "reused = (SELECT id FROM orders)"])
def test_no_call_is_sent_for_a_row_that_may_not_call(world: World, change: str) -> None:
    world.seed(1, ["staff"])
    found = claimed(world)
    world.sql(f"UPDATE workflow_states SET {change}")
    assert world.worker.send([found]) == {}


@pytest.mark.parametrize("change", [*ANOTHERS, *OVER])
def test_an_attempt_is_begun_with_its_own_order_alone(world: World, change: str) -> None:
    world.seed(1, ["staff"])
    world.store.claim(world.store.now())
    world.sql(f"UPDATE orders SET {change}")
    (found,) = begun(world, STAFF)
    assert found.order is None


@pytest.mark.parametrize("change", [*ANOTHERS, ANSWERED, *OVER])
def test_a_result_pays_for_its_own_open_order_alone(world: World, change: str) -> None:
    by_result(world)
    world.seed(1, ["staff"])
    found = claimed(world, NOT_PAID)
    world.sql(f"UPDATE orders SET {change}")
    (before,) = orders(world)
    world.worker.complete([found], [Staff(employees=1)])
    assert orders(world) == [before]


def test_a_call_that_was_lost_keeps_its_time(world: World) -> None:
    """The key is known from the first call that may be charged; one that was refused is not it."""
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1, 500)])
    world.sql("UPDATE orders SET sent_at = sent_at - interval '2 days'")
    lose(world)
    asked(world)
    lose(world)
    assert world.statuses() == {"PENDING": 1}


def test_a_refusal_is_no_answer(world: World) -> None:
    world.seed(1, ["staff"])
    found = asked(world)
    world.worker.receive([receipt(found, 1, 500)])
    assert found.order
    assert world.worker.kept([found.order.id]) == {}


def test_a_second_answer_to_a_call_that_was_refused_is_charged(world: World) -> None:
    """A refusal is no answer, though it may have a key; and without one, each answer is charged."""
    world.seed(1, ["staff"])
    found = asked(world)
    world.worker.receive([replace(receipt(found, 1, 500), once=True)])
    world.worker.send([found])
    world.worker.receive([replace(receipt(found, 2), once=True)])
    assert orders(world)[0]["charged"] == PRICE
    world.worker.send([found])
    world.worker.receive([receipt(found, 3)])
    assert orders(world)[0]["charged"] == 2 * PRICE


def test_an_answer_that_is_written_twice_is_no_fault(world: World) -> None:
    world.seed(1, ["staff"])
    found = asked(world)
    world.worker.receive([receipt(found, 1)])
    world.sql("UPDATE orders SET charged = 1")
    world.worker.receive([receipt(found, 1)])
    assert orders(world)[0]["charged"] == 1


def test_an_answer_for_many_is_that_of_their_own_call(world: World) -> None:
    """One of them was asked for again, with another request."""
    world.seed(2, ["crowd"])
    world.store.claim(world.store.now())
    both = begun(world, made(crowd))
    ids = [attempt.order.id for attempt in both if attempt.order]
    world.worker.send(both)
    world.worker.receive(
        [Asking(0, "both", {}, None).receipt(ids, [1, 1], Answer(200, {}, b"both"))]
    )
    world.worker.send(both[:1])
    world.worker.receive(
        [Asking(0, "one", {}, None).receipt(ids[:1], [2], Answer(200, {}, b"one"))]
    )
    (kept,) = world.worker.kept(ids[1:])[ids[1]]
    assert bytes(kept.body) == b"both"
