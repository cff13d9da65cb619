"""Orders at the terminal: shown, settled, and bought again where an answer never came."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

import cli.orders
from tests.paying import PRICE, cap, paying, through, with_paid_steps
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

LOST = "company-0.example.com"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def lost(world: World, provider: Provider) -> Provider:
    """A batch of two: one has its answer; the other was charged, and its answer never came."""
    provider.do(LOST, DROP)
    world.seed(2, ["staff"])
    through(world)
    assert world.statuses() == {"COMPLETED": 1, "FAILED": 1}
    return provider


def said(tracer: Terminal) -> str:
    return " ".join(tracer.err.split())


def states(tracer: Terminal) -> dict[str, list[str]]:
    """The states of each company's orders, the newest first."""
    found: dict[str, list[str]] = {}
    for row in tracer.json("orders", "batch"):
        found.setdefault(row["company"], []).append(row["state"])
    return found


def spent(world: World) -> dict[str, object]:
    sums = ", ".join(f"sum({n}) AS {n}" for n in ("bought", "hits", "unknown", "charged"))
    (found,) = world.sql(f"SELECT {sums} FROM spend")
    return found


def test_orders_are_listed_and_chosen(tracer: Terminal, lost: Provider) -> None:
    assert states(tracer) == {"company-0": ["unknown"], "company-1": ["answered"]}
    (row,) = tracer.json("orders", "--unknown")
    assert (row["company"], row["price"], row["charged"], row["tries"]) == ("company-0", 2, None, 1)
    assert [row["company"] for row in tracer.json("orders", "--company", "company-1")] == [
        "company-1"
    ]
    assert tracer.json("orders", "--step", "census") == []
    assert len(tracer.json("orders", "batch", "--limit", "1")) == 1
    shown = tracer("orders", "batch")
    assert "unknown" in shown
    assert "1 order may have been charged" in tracer.err
    tracer("orders", "bacth", code=2)
    tracer("orders", "--company", "company-7", code=2)
    assert lost.calls.total() == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--step", "staf"), "There is no step 'staf'. Did you mean 'staff'?"),
        (("--step", "nothing"), "There is no step 'nothing': run `tracer steps`."),
        (("batch", "--step", "census"), "Batch 'batch' has no step 'census'. It has: staff."),
        (("bacth", "--step", "staff"), "There is no batch 'bacth'. Did you mean 'batch'?"),
        (
            ("settle", "--batch", "batch", "--step", "staf", "--unknown", "--charged"),
            "Batch 'batch' has no step 'staf'. Did you mean 'staff'?",
        ),
    ],
)
@pytest.mark.usefixtures("lost")
def test_a_name_that_there_is_not_is_bad_input(
    tracer: Terminal, words: tuple[str, ...], says: str
) -> None:
    for more in (), ("--json",):
        tracer("orders", *words, *more, code=2)
        assert (tracer.out, said(tracer)) == ("", says)


def test_the_newest_are_shown_and_the_others_counted(
    tracer: Terminal, world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(5, ["staff"])
    through(world)
    ages = ["1 minute", "1 hour", "1 day", "9 days", "9 years"]  # each in a span of its own
    for number, age in enumerate(ages):
        world.sql(
            "UPDATE orders SET made_at = now() - %(age)s::interval"
            " WHERE company_id = (SELECT id FROM companies WHERE key = %(key)s)",
            age=age,
            key=f"company-{number}",
        )
    for limit in range(1, 7):
        shown = [row["company"] for row in tracer.json("orders", "--limit", str(limit))]
        assert shown == [f"company-{number}" for number in range(min(limit, 5))]
        tracer("orders", "--limit", str(limit))
        more = {4: "1 older order is not shown", 3: "2 older orders are not shown"}
        assert more.get(limit, "") in said(tracer)
        assert ("not shown" in said(tracer)) == (limit < 5)
    monkeypatch.setattr(cli.orders, "COUNTED", 3)
    tracer("orders", "--limit", "1")
    assert "3 older orders or more are not shown: see --limit." in said(tracer)
    assert provider.calls.total() == 5


def test_a_charge_that_is_known_is_booked_once(
    tracer: Terminal, world: World, lost: Provider
) -> None:
    assert spent(world) == {"bought": 2, "hits": 1, "unknown": 1, "charged": 2 * PRICE}
    (order,) = tracer.json("orders", "--unknown")
    tracer("orders", "settle", order["order"], "--charged")
    assert "settled as charged: the next tick books it." in said(tracer)
    world.tick()
    assert spent(world) == {"bought": 2, "hits": 1, "unknown": 0, "charged": 2 * PRICE}
    assert cap(world)["spent"] == 2 * PRICE
    assert states(tracer)["company-0"] == ["superseded"]
    assert not world.tick()
    tracer("retry", "batch", "--yes")
    through(world)
    assert world.statuses() == {"COMPLETED": 2}
    assert lost.charges[LOST] == 2
    assert states(tracer)["company-0"] == ["answered", "superseded"]
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, 3 * PRICE)


@pytest.mark.usefixtures("lost")
def test_another_amount_may_have_been_charged(tracer: Terminal, world: World) -> None:
    done = tracer.json(
        *("orders", "settle", "--batch", "batch", "--unknown", "--charged"),
        *("--amount", "3.50", "--yes"),
    )
    assert done == {"orders": 1, "charged": True}
    world.tick()
    assert (cap(world)["spent"], cap(world)["beyond"]) == (2 * PRICE, 1.5)
    assert tracer.json("history", "batch")["history"][-1]["detail"]["amount"] == "3.5"


def test_what_was_not_charged_is_given_back(tracer: Terminal, world: World, lost: Provider) -> None:
    which = ("orders", "settle", "--batch", "batch", "--step", "staff", "--unknown")
    tracer(*which, "--not-charged", code=2)
    assert "1 unknown order cost nothing, and their reservation is given back" in said(tracer)
    tracer(*which, "--not-charged", "--yes")
    world.tick()
    assert spent(world) == {"bought": 1, "hits": 1, "unknown": 0, "charged": PRICE}
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, PRICE)
    assert states(tracer)["company-0"] == ["void"]
    tracer("retry", "batch", "--yes")
    through(world)
    assert (world.statuses(), lost.calls[LOST]) == ({"COMPLETED": 2}, 2)
    assert cap(world)["spent"] == 2 * PRICE
    assert tracer.json(*which, "--not-charged", "--yes") == {"orders": 0, "charged": False}


def test_a_retry_alone_does_not_pay_twice(tracer: Terminal, world: World, lost: Provider) -> None:
    tracer("retry", "batch", "--yes")
    through(world)
    assert world.statuses() == {"COMPLETED": 1, "FAILED": 1}
    assert lost.calls[LOST] == 1


def test_a_retry_of_what_is_unknown_buys_again(
    tracer: Terminal, world: World, lost: Provider
) -> None:
    tracer("retry", "batch", "--unknown", code=2)
    cost = "buys again: up to 1 call of staff at 2 each, 2 at most; 1 call may be paid twice"
    assert f"1 failed row, and {cost}. Nothing was done" in said(tracer)
    done = tracer.json("retry", "batch", "--unknown", "--yes")
    about = {"batch": "batch", "rows": 1, "paused": False}
    assert done == {**about, "calls": 1, "price": PRICE, "highest_cost": PRICE}
    through(world)
    assert (world.statuses(), lost.charges[LOST]) == ({"COMPLETED": 2}, 2)
    assert states(tracer)["company-0"] == ["answered", "superseded"]
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, 3 * PRICE)
    assert spent(world) == {"bought": 3, "hits": 2, "unknown": 1, "charged": 3 * PRICE}
    assert tracer.json("history", "batch")["history"][-1]["detail"] == {"unknown": True}
    assert tracer.json("retry", "batch", "--unknown", "--yes")["rows"] == 0


@pytest.mark.usefixtures("lost")
def test_a_retry_after_the_answer_has_come_buys_nothing(tracer: Terminal, world: World) -> None:
    world.sql("UPDATE orders SET answered_at = now(), charged = 2 WHERE answered_at IS NULL")
    tracer("retry", "batch", "--unknown", code=2)
    assert "Retries batch: 1 failed row, and buys nothing. Nothing was done" in said(tracer)
    world.sql("UPDATE orders SET superseded_at = now()")
    tracer("retry", "batch", "--unknown", code=2)
    assert "buys again: up to 1 call of staff at 2 each, 2 at most. Nothing" in said(tracer)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("settle", "x", "--charged"), "'x' is not the id of an order"),
        (("settle", str(uuid4()), "--charged"), "There is no order"),
        (("settle", str(uuid4())), "Say --charged"),
        (("settle", str(uuid4()), "--charged", "--not-charged"), "Say --charged"),
        (("settle", str(uuid4()), "--not-charged", "--amount", "3"), "Say --charged"),
        (("settle", "--charged"), "Name an order, or a batch"),
        (("settle", "--charged", "--batch", "batch"), "Name an order, or a batch"),
        (("settle", str(uuid4()), "--charged", "--unknown"), "but not both"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_bad_words_are_one_sentence(
    tracer: Terminal, world: World, words: tuple[str, ...], says: str
) -> None:
    world.seed(1)
    tracer("orders", *words, code=2)
    assert says in said(tracer)


def test_what_is_known_or_waited_for_is_not_settled(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    world.seed(1, ["staff"])
    world.tick()
    (order,) = tracer.json("orders")
    assert order["state"] == "open"
    tracer("orders", "settle", order["order"], "--not-charged", code=2)
    assert "is open: it is still waited for" in said(tracer)
    through(world)
    tracer("orders", "settle", order["order"], "--not-charged", code=2)
    assert "is answered: that is known" in said(tracer)
    assert provider.calls.total() == 1
