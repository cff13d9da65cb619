"""What was spent, and at which providers, at the terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.operator.seeding.batch import Spending
from tests.paying import (
    PRICE,
    asked,
    paying,
    receipt,
    register,
    settle,
    staff,
    through,
    with_paid_steps,
)
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def bought(world: World, provider: Provider) -> str:
    """Two batches: the first paid for two of three companies, the second used its answers."""
    provider.unknown = {"company-2.example.com"}
    for name in ("first", "second"):
        world.seed(3, ["staff"], name=name)
        through(world)
    return datetime.now(UTC).date().isoformat()


def test_spend_is_added_up(tracer: Terminal, bought: str) -> None:
    found = tracer.json("spend")
    first = {"bought": 3, "hits": 2, "unknown": 0, "reused": 0, "charged": 4, "per_hit": 2}
    first["hit_rate"] = 0.6667
    second = {"bought": 0, "hits": 0, "unknown": 0, "reused": 3, "charged": 0, "per_hit": None}
    second["hit_rate"] = None
    assert found["rows"] == [{"batch": "first", **first}, {"batch": "second", **second}]
    assert found["total"] == {**first, "reused": 3}
    assert (found["by"], found["batch"], found["since"]) == ("batch", None, None)
    (by_step,) = tracer.json("spend", "second")["rows"]
    assert by_step == {"step": "staff", **second}
    (by_day,) = tracer.json("spend", "--by", "day", "--since", bought)["rows"]
    assert (by_day["day"], by_day["charged"]) == (bought, 4)
    (by_provider,) = tracer.json("spend", "--by", "provider")["rows"]
    assert by_provider["provider"] == "acme"
    lines = [line.split() for line in tracer("spend").splitlines()]
    assert lines[-1] == ["total", "3", "2", "67%", "0", "3", "4", "2"]
    assert tracer.json("spend", "--since", "2999-01-01")["rows"] == []


@pytest.mark.usefixtures("provider")
def test_spend_is_added_up_by_client_though_its_batches_are_deleted(
    tracer: Terminal, world: World
) -> None:
    of_client = {"anns": "ann", "bobs": "bob", "nobodys": None}
    for name, client in of_client.items():
        world.seed([name, "shared"], ["staff"], name=name, spending=Spending(client=client))
        through(world)
    anns = {"bought": 2, "hits": 2, "unknown": 0, "reused": 0, "charged": 4, "per_hit": 2}
    anns["hit_rate"] = 1.0
    others = {"bought": 1, "hits": 1, "unknown": 0, "reused": 1, "charged": 2, "per_hit": 2}
    others["hit_rate"] = 1.0
    found = tracer.json("spend", "--by", "client")
    assert found["rows"] == [
        {"client": "", **others},
        {"client": "ann", **anns},
        {"client": "bob", **others},
    ]
    assert [line.split()[0] for line in tracer("spend", "--by", "client").splitlines()] == [
        *("client", "(none)", "ann", "bob", "total"),
    ]
    tracer("delete", "anns", "--yes")
    assert tracer.json("spend", "--by", "client")["rows"] == found["rows"]
    world.seed(["new"], ["staff"], name="anns", spending=Spending(client="bob"))
    through(world)  # another client's batch, of the same name on the same day
    by_client = {row["client"]: row["charged"] for row in spent_by_client(tracer, "anns")}
    assert by_client == {"ann": 4, "bob": 2}


def spent_by_client(tracer: Terminal, batch: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tracer.json("spend", batch, "--by", "client")["rows"]
    return rows


@pytest.mark.usefixtures("provider")
def test_an_answer_that_comes_after_its_batch_is_deleted_is_the_clients(
    tracer: Terminal, world: World
) -> None:
    world.seed(1, ["staff"], spending=Spending(client="ann"))
    attempt = asked(world)
    tracer("cancel", "batch", "--yes")
    tracer("delete", "batch", "--yes")
    world.worker.receive([receipt(attempt, 1)])
    settle(world)
    (row,) = tracer.json("spend", "--by", "client")["rows"]
    assert (row["client"], row["charged"]) == ("ann", PRICE)


@pytest.mark.usefixtures("bought")
def test_spend_outlives_its_batch(tracer: Terminal) -> None:
    tracer("delete", "first", "--yes")
    assert tracer.json("spend", "first")["total"]["charged"] == 4
    tracer("spend", "frist", code=2)
    tracer("spend", "--since", "yesterday", code=2)
    assert "'yesterday' is not a day: write 2026-01-31." in " ".join(tracer.err.split())


@pytest.mark.usefixtures("bought")
def test_providers_have_steps_prices_and_spend(tracer: Terminal, world: World) -> None:
    register(world, staff)
    (acme,) = tracer.json("providers")
    assert [step["step"] for step in acme["steps"]] == ["census", "crowd", "staff"]
    assert {step["price"] for step in acme["steps"]} == {PRICE}
    assert (acme["provider"], acme["spent_today"], acme["spent_this_month"]) == ("acme", 4, 4)
    assert acme["keep_for_s"] is None
