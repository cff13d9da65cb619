"""Each guard of the tick's statements about money: whose order it is, what of it is known, what is
booked once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from reconciler.contract.purchases import place_orders
from reconciler.contract.store import Store
from reconciler.operator import steering
from reconciler.operator.steering import Rerun, rerun
from reconciler.policy import judge
from tests.paying import (
    ANOTHERS,
    ANSWERED,
    NOT_PAID,
    OVER,
    PRICE,
    Staff,
    asked,
    by_result,
    cap,
    claimed,
    lose,
    made,
    orders,
    paying,
    receipt,
    register,
    settle,
    staff,
    through,
    url_of,
    with_paid_steps,
)
from tests.standins.provider import Provider
from tests.world import World, chunk_of

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def reap(world: World) -> None:
    """Every lease ends now."""
    now = world.store.now() + timedelta(days=1)
    world.store.reap(now, lambda row: judge(row, now, 0.5))


@pytest.mark.parametrize("change", [*ANOTHERS, ANSWERED, *OVER])
def test_an_attempt_that_expires_gives_up_its_own_open_order_alone(
    world: World, change: str
) -> None:
    world.seed(1, ["staff"])
    asked(world)
    world.sql(f"UPDATE orders SET {change}")
    (before,) = orders(world)
    reap(world)
    assert orders(world) == [before]
    assert world.statuses() == {"PENDING": 1}


def test_an_attempt_that_was_refused_may_be_followed_by_another(world: World) -> None:
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1, 500)])
    reap(world)
    assert world.statuses() == {"PENDING": 1}


@pytest.mark.parametrize(
    ("change", "calls"),
    [
        ("", 1),
        ("UPDATE enrichment_registry SET fresh_for_s = 0.001", 2),
        ("UPDATE enrichment_registry SET fresh_for_s = NULL", 2),
        ("UPDATE companies SET changed_at = now() + interval '1 hour'", 2),
        ("UPDATE batches SET buy = '{staff}'", 2),
        ("UPDATE workflow_states SET status = 'FAILED', advanced = false WHERE batch_id = 1", 1),
    ],
)
def test_another_batch_buys_anew_what_is_not_fresh(
    world: World, provider: Provider, change: str, calls: int
) -> None:
    world.seed(1, ["staff"])
    through(world)
    world.seed(1, ["staff"], name="again")
    if change:
        world.sql(change)
    through(world)
    assert provider.calls.total() == calls
    assert world.rows()[1]["status"] == "COMPLETED"


def test_an_answer_whose_result_has_not_landed_is_read_and_not_taken_over(world: World) -> None:
    """The row that bought it is to be read again."""
    world.seed(1, ["staff"])
    through(world)
    rerun(world.operator, world.operator.batch("batch"), Rerun("staff", kept=True))
    world.seed(1, ["staff"], name="again")
    world.sql("UPDATE batches SET paused = (name = 'batch')")
    assert claimed(world).order is not None


def test_an_answer_is_read_again_where_the_step_says_so(world: World, provider: Provider) -> None:
    """Though it is not fresh any more, or another batch's."""
    world.seed(1, ["staff"])
    through(world)
    world.seed(1, ["staff"], name="again")
    through(world)
    rerun(world.operator, world.operator.batch("again"), Rerun("staff", kept=True))
    world.sql("UPDATE enrichment_registry SET fresh_for_s = 0.001")
    through(world)
    assert provider.calls.total() == 1
    assert world.statuses() == {"COMPLETED": 2}
    assert len(orders(world)) == 1


@pytest.mark.parametrize("change", OVER)
def test_an_order_that_is_over_is_followed_by_a_new_one(world: World, change: str) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    asked(world)
    lose(world)
    world.sql(f"UPDATE orders SET {change}")
    steering.retry(world.operator, batch)
    world.store.claim(world.store.now())
    assert (world.statuses(), len(orders(world))) == ({"QUEUED": 1}, 2)


def test_a_step_without_paid_is_bought_again_when_its_row_is_run_again(world: World) -> None:
    by_result(world)
    world.seed(1, ["staff"])
    world.worker.complete([claimed(world, NOT_PAID)], [Staff(employees=1)])
    rerun(world.operator, world.operator.batch("batch"), Rerun("staff"))
    world.store.claim(world.store.now())
    assert len(orders(world)) == 2
    assert world.statuses() == {"QUEUED": 1}


def test_a_key_that_the_provider_has_forgotten_is_not_sent_again(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    lose(world)
    world.sql("UPDATE orders SET sent_at = sent_at - interval '2 days'")
    world.store.claim(world.store.now())
    assert world.rows()[0]["error_kind"] == "may_be_charged"


def test_a_call_that_cannot_be_recalled_is_not_claimed_again(world: World) -> None:
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    lose(world)
    register(world, staff)
    world.store.claim(world.store.now())
    (row,) = world.rows()
    assert (row["status"], row["error_kind"], row["attempt"]) == ("FAILED", "may_be_charged", 2)


def test_of_two_steps_that_share_the_last_room_of_a_cap_one_waits(world: World) -> None:
    """As if it had not been claimed."""
    world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 3)")
    world.seed(1, ["staff"])
    world.seed(1, ["census"], name="beside")
    assert sum(len(chunk.company_ids) for chunk in world.store.claim(world.store.now())) == 1
    assert cap(world)["reserved"] == PRICE
    assert len(orders(world)) == 1
    (row,) = world.rows("status = 'PENDING'")
    assert (row["attempt"], row["queued_at"], row["finished_at"]) == (0, None, None)


def test_a_row_that_reuses_an_answer_uses_no_attempt(world: World) -> None:
    world.seed(1, ["staff"])
    through(world)
    world.seed(1, ["staff"], name="again")
    assert world.store.claim(world.store.now()) == []
    (row,) = world.rows("reused IS NOT NULL")
    assert (row["status"], row["attempt"], row["lease_expires_at"]) == ("COMPLETED", 0, None)
    assert row["finished_at"] is not None


def test_what_a_claim_uses_again_is_locked_until_its_end(world: World) -> None:
    world.seed(1, ["staff"])
    through(world)
    world.seed(1, ["staff"], name="again")
    batch_id = world.rows()[1]["batch_id"]
    chunk = chunk_of("staff", world.ids(), batch_id, price=PRICE, has_orders=True)
    with world.store.transaction() as claiming, psycopg.connect(url_of(world)) as other:
        claiming.execute(
            "UPDATE workflow_states SET status = 'QUEUED', attempt = 1,"
            " lease_expires_at = now() + interval '1 h' WHERE batch_id > 1"
        )
        place_orders(claiming, [chunk], world.store.now())
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SELECT id FROM orders FOR UPDATE NOWAIT")


def test_only_the_orders_that_a_claim_replaces_are_over(world: World, provider: Provider) -> None:
    """Beside one that is attached, one that is new, and one that is used again."""
    world.seed(["a", "b"], ["staff"])
    through(world)
    world.seed(["a", "b", "c"], ["staff"], name="again")
    world.sql("UPDATE companies SET changed_at = now() + interval '1 hour' WHERE key = 'a'")
    world.store.claim(world.store.now())
    assert [order["superseded_at"] is not None for order in orders(world)] == [
        True,
        False,
        False,
        False,
    ]
    assert world.sql("SELECT sum(reused) AS n FROM spend") == [{"n": 1}]
    assert cap(world)["reserved"] == 2 * PRICE
    assert provider.calls.total() == 2


@pytest.mark.parametrize("scope", ["provider:acme/day", "provider:acme/month"])
def test_a_period_that_is_over_is_left_as_it_is(world: World, scope: str) -> None:
    world.sql(
        "INSERT INTO caps (scope, since, reserved, spent) VALUES (%(scope)s, '2020-01-01', 7, 5)",
        scope=scope,
    )
    world.seed(1, ["staff"])
    through(world)
    (old,) = world.sql(
        "SELECT reserved, spent FROM caps WHERE scope = %(scope)s AND since = '2020-01-01'",
        scope=scope,
    )
    assert (old["reserved"], old["spent"]) == (7, 5)
    assert (cap(world, scope)["reserved"], cap(world, scope)["spent"]) == (0, PRICE)


@pytest.mark.parametrize("verb", ["resolve", "settle"])
def test_an_order_that_its_worker_is_writing_is_passed_over(world: World, verb: str) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    world.worker.receive([receipt(asked(world), 1)])
    if verb == "resolve":
        world.sql("UPDATE orders SET answered_at = NULL, known = 0")
        steering.cancel(world.operator, batch)
    now = world.store.now()
    with psycopg.connect(url_of(world)) as writing, Store.connect(url_of(world)) as other:
        writing.execute("SELECT id FROM orders FOR UPDATE")
        found = other.resolve(now, after_s=0) if verb == "resolve" else other.settle(now)
        assert found == 0


def test_only_a_call_that_was_not_sent_is_given_back(world: World) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    asked(world)
    steering.cancel(world.operator, batch)
    settle(world)
    (order,) = orders(world)
    assert (order["void_at"], cap(world)["spent"]) == (None, PRICE)


def test_an_order_is_looked_at_after_a_while(world: World) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    claimed(world)
    steering.cancel(world.operator, batch)
    assert world.store.resolve(world.store.now(), after_s=60) == 0
    assert world.store.resolve(world.store.now() + timedelta(seconds=61), after_s=60) == 1


def test_what_was_resolved_or_answered_is_not_resolved_again(world: World) -> None:
    batch = world.operator.batch(world.seed(1, ["staff"]))
    asked(world)
    steering.cancel(world.operator, batch)
    assert world.store.resolve(world.store.now(), after_s=0) == 1
    assert world.store.resolve(world.store.now(), after_s=0) == 0


def test_an_order_whose_row_is_under_way_is_left(world: World) -> None:
    world.seed(1, ["staff"])
    claimed(world)
    assert world.store.resolve(world.store.now(), after_s=0) == 0


def test_an_order_that_may_be_recalled_is_left_to_the_next_attempt(world: World) -> None:
    """Though a cap is full."""
    register(world, staff, recall="key")
    world.seed(1, ["staff"])
    asked(world)
    lose(world)
    world.sql("UPDATE caps SET most = reserved WHERE scope = 'all'")
    assert world.store.resolve(world.store.now(), after_s=0) == 0


def test_a_refused_order_is_kept_for_its_next_attempt_while_no_cap_is_full(world: World) -> None:
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1, 500)])
    lose(world)
    assert world.store.resolve(world.store.now(), after_s=0) == 0


def test_a_refusal_that_was_charged_is_booked_and_the_rest_stays_reserved(world: World) -> None:
    """And what a further one costs is added, once."""
    world.seed(1, ["staff"])
    found = asked(world)
    refused = replace(receipt(found, 1, 500), charge=PRICE / 2)  # type: ignore[arg-type]
    world.worker.receive([refused])
    settle(world)
    settle(world)
    assert (cap(world)["reserved"], cap(world)["spent"]) == (PRICE / 2, PRICE / 2)
    assert orders(world)[0]["settled_at"] is None
    world.worker.send([found])
    world.worker.receive([receipt(found, 2, charge=PRICE // 2)])
    settle(world)
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, PRICE)


def test_a_charge_that_comes_later_is_booked_beside_the_first(world: World) -> None:
    """Nothing is reserved any more by then, and a hit is no second hit."""
    world.seed(1, ["staff"])
    world.worker.receive([receipt(asked(world), 1, charge=1)])
    settle(world)
    world.sql("UPDATE orders SET charged = 2")
    settle(world)
    (spent,) = world.sql("SELECT bought, hits, charged FROM spend")
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, 2)
    assert (spent["bought"], spent["hits"], spent["charged"]) == (1, 1, 2)


@pytest.mark.parametrize("change", ["charged = 1", "answered_at = NULL, unknown_at = settled_at"])
def test_what_is_not_booked_or_not_known_is_kept(world: World, change: str) -> None:
    world.seed(1, ["staff"])
    through(world)
    world.sql("UPDATE providers SET keep_for_s = 1")
    world.sql("UPDATE enrichment_registry SET fresh_for_s = 0.001")
    world.sql(f"UPDATE orders SET made_at = now() - interval '1 h', {change}")
    world.store.prune(world.store.now())
    assert len(orders(world)) == 1


@pytest.mark.parametrize("scope", ["all", "batch:1", "provider:acme/day"])
def test_a_claim_touches_no_more_rows_than_a_cap_has_room_for(world: World, scope: str) -> None:
    """Each tick would else write those that wait."""
    world.seed(3, ["staff"])
    since = "(now() AT TIME ZONE 'UTC')::date" if "day" in scope else "'0001-01-01'"
    world.sql(
        f"INSERT INTO caps (scope, since, most) SELECT %(scope)s, {since}, 3",
        scope=scope.replace("1", str(world.rows()[0]["batch_id"])),
    )
    seen = "SELECT company_id, xmin::text FROM workflow_states ORDER BY company_id"
    before = world.sql(seen)
    world.store.claim(world.store.now())
    assert sum(row not in before for row in world.sql(seen)) == 1


def test_a_period_that_was_full_leaves_room_in_the_next(world: World) -> None:
    world.sql(
        "INSERT INTO caps (scope, since, most, spent) VALUES"
        " ('provider:acme/day', '2020-01-01', 2, 2), ('provider:acme/month', '2020-01-01', 2, 2)"
    )
    world.seed(1, ["staff"])
    world.store.claim(world.store.now())
    assert world.statuses() == {"QUEUED": 1}
