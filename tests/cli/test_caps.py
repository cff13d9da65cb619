"""Caps at the terminal: set, refused, shown, lifted, and kept by the next claim."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.operator.money.caps import Target, set_cap
from reconciler.operator.seeding.batch import Spending
from tests.paying import PRICE, cap, paying, through, with_paid_steps
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

ANNS = Spending(client="ann")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def scopes(tracer: Terminal) -> dict[str, dict[str, Any]]:
    return {row["scope"]: row for row in tracer.json("caps")}


def said(tracer: Terminal) -> str:
    return " ".join(tracer.err.split())


def test_nothing_is_limited_at_first(tracer: Terminal) -> None:
    assert tracer.json("caps") == []
    tracer("caps")
    assert "`tracer caps set all 5000`" in tracer.err


@pytest.mark.parametrize(
    ("scope", "limit", "bought"),
    [
        ("all", "7", 3),
        ("batch:batch", "4.5", 2),
        ("client:ann", "5", 2),
        ("provider:acme", "2/day", 1),
        ("provider:acme/month", "9", 4),
        ("all", "0", 0),
    ],
)
@pytest.mark.usefixtures("provider")
def test_what_is_set_holds(
    tracer: Terminal, world: World, scope: str, limit: str, bought: int
) -> None:
    world.seed(10, ["staff"], spending=ANNS)
    tracer("caps", "set", scope, limit)
    through(world)
    found = {"PENDING": 10 - bought} | ({"COMPLETED": bought} if bought else {})
    assert world.statuses() == found
    (row,) = [row for row in tracer.json("caps") if row["limit"] is not None]
    assert row["spent"] == bought * PRICE
    assert row["left"] == row["limit"] - bought * PRICE
    tracer("caps", "set", scope, "none" + ("/day" if "/day" in limit else ""))
    through(world)
    assert world.statuses() == {"COMPLETED": 10}


@pytest.mark.usefixtures("provider")
def test_the_answer_and_the_table_name_the_scope(tracer: Terminal, world: World) -> None:
    world.seed(3, ["staff"], name="b")
    through(world)
    done = tracer.json("caps", "set", "batch:b", "1500.50")
    used = {"spent": 3 * PRICE, "reserved": 0, "beyond": 0}
    now = {"scope": "batch:b", "per": None, "since": None, "limit": 1500.5, "left": 1494.5}
    assert done == used | now | {"before": None}
    tracer("caps", "set", "batch:b", "500")
    assert said(tracer) == ("batch:b may cost 500: 6 spent, 0 reserved, 494 left. It was 1,500.5.")
    shown = tracer("caps")
    for line in ("batch:b 500 6 0 494", "all 6 0"):
        assert line in " ".join(shown.split())
    assert [row["scope"] for row in tracer.json("caps")] == [
        "all",
        "provider:acme/day",
        "provider:acme/month",
        "batch:b",
    ]
    lines = tracer.json("history", "b")["history"]
    assert [(line["verb"], line["detail"]) for line in lines[1:]] == [
        ("caps set", {"from": "none", "to": "1500.5"}),
        ("caps set", {"from": "1500.5", "to": "500"}),
    ]
    assert "caps set 1500.5 -> 500" in tracer("history", "b")
    tracer("caps", "set", "batch:b", "off")
    assert said(tracer) == "batch:b has no limit. It was 500; 6 spent, 0 reserved."
    assert "batch:b" not in scopes(tracer)  # it has ended


@pytest.mark.usefixtures("provider")
def test_a_limit_below_what_is_used_is_refused(tracer: Terminal, world: World) -> None:
    world.seed(3, ["staff"])
    world.tick()
    tracer("caps", "set", "provider:acme", "5/month", code=2)
    assert said(tracer) == (
        "provider:acme/month: 0 is spent and 6 reserved already. The lowest limit is 6: "
        "run `tracer caps set provider:acme 6/month`."
    )
    tracer("caps", "set", "provider:acme", "6/month")
    assert cap(world, "provider:acme/month")["most"] == 6


@pytest.mark.usefixtures("provider")
def test_a_new_period_begins_with_the_limit_of_the_last(tracer: Terminal, world: World) -> None:
    tracer("caps", "set", "provider:acme", "4/day")
    world.sql("UPDATE caps SET since = since - 1, spent = 4 WHERE scope = 'provider:acme/day'")
    assert scopes(tracer)["provider:acme/day"]["left"] == 4
    world.seed(5, ["staff"])
    through(world)
    assert world.statuses() == {"COMPLETED": 2, "PENDING": 3}
    found = world.sql("SELECT most, spent FROM caps WHERE scope = 'provider:acme/day'")
    assert [(row["most"], row["spent"]) for row in found] == [(4, 4), (4, 4)]
    tracer("caps", "set", "provider:acme", "none/day")
    through(world)
    assert world.statuses() == {"COMPLETED": 5}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("batch:bacth", "5"), "Did you mean 'batch'?"),
        (("provider:acne", "5/day"), "Did you mean 'acme'?"),
        (("provider:acme", "5"), "write the limit as 10000/month or 500/day"),
        (("provider:acme/day", "5/month"), "'5/month' is not a limit"),
        (("all", "5/day"), "Only a provider's cap has a period"),
        (("client:Ann", "5"), "'Ann' is not the name of a client"),
        (("client:", "5"), "'' is not the name of a client"),
        (("client:ann/day", "5"), "'ann/day' is not the name of a client"),
        (("client:ann", "5/day"), "Only a provider's cap has a period"),
        (("everything", "5"), "write all, batch:NAME, client:NAME, provider:NAME/day"),
        (("all", "10,000"), "without commas"),
        (("all", "-1"), "-1 is below 0. A cap is 0 or more."),
        (("all", "-.5"), "-.5 is below 0. A cap is 0 or more."),
        (("provider:acme", "-5/day"), "-5 is below 0. A cap is 0 or more."),
        (("all", "5", "--jsn"), "No such option: --jsn"),
        (("all", "nan"), "is not an amount"),
        (("all", "1e400"), "is not an amount"),
        (("all", "9999999999999999"), "is not an amount"),
        (("all", "5/week"), "is not a limit"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_bad_words_are_one_sentence(
    tracer: Terminal, world: World, words: tuple[str, ...], says: str
) -> None:
    world.seed(1)
    tracer("caps", "set", *words, code=2)
    assert says in said(tracer)
    assert tracer.json("caps") == []


def test_all_batches_of_a_client_share_its_cap(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    for name, client in (("one", "ann"), ("two", "ann"), ("three", "bob"), ("four", None)):
        keys = [f"{name}-{n}" for n in range(4)]
        world.seed(keys, ["staff"], name=name, spending=Spending(client=client))
    tracer("caps", "set", "client:ann", "10")
    assert tracer.err.count("\n") == 1
    world.sql("UPDATE enrichment_registry SET max_in_flight = 9")
    through(world)
    assert world.statuses() == {"COMPLETED": 13, "PENDING": 3}
    shown = scopes(tracer)
    assert (shown["client:ann"]["spent"], shown["client:ann"]["left"]) == (10, 0)
    assert (shown["client:bob"]["spent"], shown["client:bob"]["limit"]) == (8, None)
    assert provider.calls.total() == 13
    claims = world.store.claim(world.store.now())
    assert claims == [], "what cannot be bought takes no capacity"


def test_what_a_deleted_batch_has_open_is_given_back_to_its_client(
    tracer: Terminal, world: World, provider: Provider
) -> None:
    world.seed(2, ["staff"], spending=ANNS)
    world.tick()
    tracer("cancel", "batch", "--yes")
    assert cap(world, "client:ann")["reserved"] == 2 * PRICE
    tracer("delete", "batch", "--yes")
    assert "batch:batch" not in scopes(tracer)
    assert world.sql("SELECT scope FROM caps WHERE scope LIKE 'batch:%%'") == []
    world.sql("UPDATE orders SET made_at = made_at - interval '1 hour'")
    through(world)
    assert cap(world, "client:ann")["reserved"] == 0
    assert provider.calls.total() == 0


def test_a_client_that_no_batch_names_may_be_misspelt(tracer: Terminal, world: World) -> None:
    tracer("caps", "set", "client:anne", "5")
    assert "No batch is of the client 'anne' yet." in said(tracer)
    world.seed(1, spending=ANNS)
    tracer("caps", "set", "client:anne", "5")
    assert "No batch is of the client 'anne' yet. Did you mean 'ann'?" in said(tracer)


def test_a_cap_waits_for_a_claim_that_reserves(world: World, tracer: Terminal) -> None:
    with ThreadPoolExecutor() as pool:
        with world.store.transaction() as claim:
            claim.execute(CLAIM_TURN)
            claim.execute("INSERT INTO caps (scope, since, reserved) VALUES ('all', '0001-1-1', 9)")
            setting = pool.submit(set_cap, world.operator, Target("all"), Decimal(8))
            world.wait_for_blocked()
        with pytest.raises(BadInput, match="The lowest limit is 9"):
            setting.result(10)
    tracer("caps", "set", "all", "9")
