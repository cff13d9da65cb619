"""`tracer try` for a known company pays as a batch does: with an order, a cap, a kept answer."""

from collections.abc import Iterator

import pytest

from reconciler.contract.grants import OPERATOR
from tests.paying import PLACE, PRICE, cap, made, orders, paying, staff, with_paid_steps
from tests.roles import as_role, granted
from tests.standins.provider import DROP, Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

KEY = "company-0"
TRY = ("try", "staff", "--company", KEY)


@pytest.fixture
def provider(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("TRACER_STEPS", "workers.steps,tests.paying")
    with paying() as found:
        world.seed(1)
        yield found


def test_what_a_trial_buys_is_kept_and_a_batch_uses_it(
    tracer: Terminal, provider: Provider, world: World
) -> None:
    (tried,) = tracer.json(*TRY)
    assert (tried["cost"], tried["answers_kept"], len(tried["calls"])) == (PRICE, True, 1)
    (order,) = orders(world)
    assert (order["batch_id"], order["charged"]) == (None, PRICE)
    assert provider.seen[0][1] == str(order["id"])
    world.tick()
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, PRICE)
    assert world.sql("SELECT batch, bought, charged FROM spend") == [
        {"batch": "", "bought": 1, "charged": PRICE}
    ]
    world.seed(1, ["staff"], name="paid")
    world.tick()
    world.work(made(staff))
    assert [row["status"] for row in world.rows("step_name = 'staff'")] == ["COMPLETED"]
    assert provider.calls.total() == 1


def test_a_kept_answer_is_used_instead_of_a_call(tracer: Terminal, provider: Provider) -> None:
    tracer(*TRY)
    tracer(*TRY)
    assert "A kept answer was used for 1 company: no call was made." in tracer.err
    (again,) = tracer.json(*TRY)
    assert (again["status"], again["calls"], again["cost"]) == ("COMPLETED", [], 0)
    assert provider.calls.total() == 1


def test_a_call_that_was_never_sent_is_no_kept_answer(
    tracer: Terminal, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLACE, "url", "http://127.0.0.1:9")  # nobody is there
    tracer(*TRY, code=1)
    assert "A kept answer was used" not in tracer.err
    assert provider.calls.total() == 0


def test_a_full_cap_refuses_a_trial(tracer: Terminal, provider: Provider, world: World) -> None:
    world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 1)")
    tracer(*TRY, code=1)
    assert "The cap all has 1 left, and this may cost 2: see `tracer caps`" in tracer.err
    assert (provider.calls.total(), orders(world)) == (0, [])
    assert cap(world)["reserved"] == 0


def test_a_refused_call_gives_its_reservation_back(
    tracer: Terminal, provider: Provider, world: World
) -> None:
    provider.do(f"{KEY}.example.com", 429)
    tracer(*TRY, code=1)
    assert cap(world)["reserved"] == PRICE
    world.tick()
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, 0)
    assert orders(world)[0]["void_at"]


def test_a_call_without_an_answer_counts_as_spent(
    tracer: Terminal, provider: Provider, world: World
) -> None:
    provider.do(f"{KEY}.example.com", DROP)
    tracer(*TRY, code=1)
    world.tick()
    assert orders(world)[0]["unknown_at"]
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, PRICE)
    tracer(*TRY, code=2)
    assert "an answer never came" in " ".join(tracer.err.split())
    assert provider.calls.total() == 1


def test_an_order_of_a_batch_is_left_to_the_batch(
    tracer: Terminal, provider: Provider, world: World
) -> None:
    world.seed(1, ["staff"], name="paid")
    world.tick()
    tracer(*TRY, code=2)
    assert "a batch buys there now" in " ".join(tracer.err.split())
    world.work(made(staff))
    assert provider.calls.total() == 1
    assert tracer.json(*TRY)[0]["calls"] == []


def test_for_a_company_of_a_file_nothing_is_kept(
    tracer: Terminal, provider: Provider, world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("file") / "c.csv"
    file.write_text(f"key,domain\n{KEY},{KEY}.example.com\nstranger,stranger.example.com\n")
    known, stranger = tracer.json("try", "staff", str(file))
    assert (known["answers_kept"], stranger["answers_kept"]) == (True, False)
    assert len(orders(world)) == 1
    tracer("try", "staff", str(file))
    assert "are not kept, and a batch buys them again" in " ".join(tracer.err.split())
    assert provider.calls[f"{KEY}.example.com"] == 1


@pytest.mark.usefixtures("provider")
def test_the_operators_role_may_try(
    tracer: Terminal, world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", as_role(granted(url), OPERATOR))
    assert tracer.json(*TRY)[0]["cost"] == PRICE
    assert cap(world)["reserved"] == PRICE
