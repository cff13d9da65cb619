"""Each company's step is paid for once, whatever is repeated, and nothing that was paid is lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from reconciler.operator.deletion import delete_company
from reconciler.operator.export import read_companies
from reconciler.operator.steering import Rerun, rerun, retry
from reconciler.operator.views import results, with_history
from tests.limiting import resume
from tests.paying import (
    PLACE,
    PRICE,
    Census,
    Staff,
    cap,
    census,
    crowd,
    made,
    orders,
    paying,
    register,
    staff,
    through,
    with_paid_steps,
)
from tests.standins.provider import CUT, DROP, HANG, Provider
from tests.terminal import Terminal
from tests.world import World
from workers.kit import Company, Paid, PermanentError

pytestmark = pytest.mark.filled(fill=with_paid_steps)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def test_an_answer_is_bought_and_booked(world: World, provider: Provider) -> None:
    world.seed(3, ["staff"])
    through(world)
    assert world.statuses() == {"COMPLETED": 3}
    assert provider.charges.total() == 3
    assert {order["settled"] for order in orders(world)} == {PRICE}
    assert (cap(world)["reserved"], cap(world)["spent"]) == (0, 3 * PRICE)
    (spent,) = world.sql("SELECT * FROM spend")
    assert (spent["bought"], spent["hits"], spent["charged"]) == (3, 3, 3 * PRICE)
    assert spent["provider"] == "acme"


def test_a_second_batch_costs_nothing(world: World, provider: Provider) -> None:
    world.seed(3, ["staff"])
    through(world)
    world.seed(3, ["staff"], name="again")
    through(world)
    assert provider.calls.total() == 3
    assert world.statuses() == {"COMPLETED": 6}
    assert sum(row["reused"] is not None for row in world.rows()) == 3
    assert world.sql("SELECT sum(reused) AS n FROM spend")[0]["n"] == 3


def test_a_company_that_is_not_known_is_remembered_and_costs_nothing(
    world: World, provider: Provider
) -> None:
    provider.unknown = {"company-1.example.com"}
    world.seed(2, ["staff"])
    through(world)
    world.seed(2, ["staff"], name="again")
    through(world)
    assert world.statuses() == {"COMPLETED": 2, "NOT_FOUND": 2}
    assert provider.calls.total() == 2
    assert cap(world)["spent"] == PRICE


def test_a_batch_beside_another_shares_its_answer(world: World, provider: Provider) -> None:
    world.seed(2, ["staff"])
    world.seed(2, ["staff"], name="beside")
    through(world)
    assert world.statuses() == {"COMPLETED": 4}
    assert provider.calls.total() == 2


@pytest.mark.parametrize("status", [429, 500, 503, 402])
def test_a_refusal_leaves_the_order_open_and_costs_nothing(
    world: World, provider: Provider, status: int
) -> None:
    provider.do("company-0.example.com", status, status)
    world.seed(1, ["staff"])
    for _ in range(3):
        through(world)
        resume(world)
    assert world.statuses() == {"COMPLETED": 1}
    assert provider.calls.total() == 3
    assert len({key for _, key in provider.seen}) == 1
    (order,) = orders(world)
    assert (order["tries"], order["charged"]) == (3, PRICE)
    kept = world.sql('SELECT status FROM results.answers ORDER BY "try"')
    assert [row["status"] for row in kept] == [status, status, 200]


def test_an_answer_that_a_step_cannot_read_is_not_bought_again(
    world: World, provider: Provider
) -> None:
    world.seed(1, ["staff"])

    async def blind(company: object, paid: object) -> None:
        await paid.get(f"{provider.url}/enrich", params={"domain": company.domain})  # type: ignore
        raise PermanentError("cannot read it")

    world.tick()
    world.work(replace(made(staff), function=blind))
    assert world.statuses() == {"FAILED": 1}
    retry(world.operator, world.operator.batch("batch"))
    through(world)
    assert world.statuses() == {"COMPLETED": 1}
    assert provider.calls.total() == 1


@pytest.mark.parametrize("fault", [DROP, CUT])
def test_a_lost_answer_without_recall_is_not_asked_for_again(
    world: World, provider: Provider, fault: str
) -> None:
    provider.do("company-0.example.com", fault)
    world.seed(2, ["staff"])
    through(world)
    assert world.statuses() == {"COMPLETED": 1, "FAILED": 1}
    (failed,) = world.rows("status = 'FAILED'")
    assert failed["error_kind"] == "may_be_charged"
    assert provider.calls.total() == 2
    assert cap(world)["reserved"] == 0
    assert cap(world)["spent"] == 2 * PRICE  # what is not known counts as spent
    assert world.sql("SELECT sum(unknown) AS n FROM spend")[0]["n"] == 1


def test_a_lost_answer_with_a_key_is_asked_for_again(world: World) -> None:
    with paying(honours_keys=True) as provider:
        register(world, staff, recall="key")
        provider.do("company-0.example.com", DROP)
        world.seed(1, ["staff"])
        through(world, made(staff, recall="key"))
        assert world.statuses() == {"COMPLETED": 1}
        assert (provider.calls.total(), provider.charges.total()) == (2, 1)


@pytest.mark.parametrize(("fault", "charged"), [(DROP, 1), (CUT, 1)])
def test_a_lost_answer_is_looked_up(
    world: World, provider: Provider, fault: str, charged: int
) -> None:
    provider.do("company-0.example.com", fault)
    world.seed(1, ["census"])
    through(world, census)
    assert world.statuses() == {"COMPLETED": 1}
    assert provider.charges.total() == charged


def test_what_was_looked_up_costs_its_price(world: World, provider: Provider) -> None:
    """What the lookup returns has no headers from which `charge` could read what it cost."""

    async def charging(company: Company, paid: Paid) -> Census | None:
        found = await paid.get(
            f"{PLACE['url']}/enrich",
            params={"domain": company.domain},
            charge=lambda answer: float(answer.headers.get("x-credits-used", 0)),
        )
        return Census(employees=found.json()["employees"])

    provider.do("company-0.example.com", DROP)
    world.seed(1, ["census"])
    through(world, replace(made(census), function=charging))
    assert world.statuses() == {"COMPLETED": 1}
    assert [order["charged"] for order in orders(world)] == [PRICE]


def test_a_time_out_is_a_lost_answer(world: World, provider: Provider) -> None:
    provider.do("company-0.example.com", HANG)
    world.seed(1, ["staff"])
    world.tick()
    world.work(made(staff, timeout_s=0.3))
    through(world)
    assert world.statuses() == {"FAILED": 1}
    assert provider.calls.total() == 1


def test_a_call_whose_note_took_too_long_is_not_sent(world: World, provider: Provider) -> None:
    """Another worker may have the order by then, and have looked for the call in vain."""
    world.seed(1, ["staff"])
    world.sql("UPDATE enrichment_registry SET lease_s = 2")
    world.tick()
    worker = Thread(target=world.work, args=(made(staff),))
    with psycopg.connect(world.operator._pool.conninfo) as other:
        other.execute("SELECT FROM orders FOR UPDATE")
        worker.start()
        world.wait_for_blocked()
        Event().wait(1.1)  # more than half of the lease
    worker.join()
    assert provider.calls.total() == 0
    (order,) = orders(world)
    assert (order["tries"], order["known"], order["answered_at"]) == (1, 1, None)
    through(world)
    assert world.statuses() == {"COMPLETED": 1}
    assert provider.charges.total() == 1


def test_one_call_buys_for_many(world: World, provider: Provider) -> None:
    world.seed(25, ["crowd"])
    through(world, crowd)
    assert world.statuses() == {"COMPLETED": 25}
    assert len(provider.seen) == 3
    assert provider.charges.total() == 25
    assert cap(world)["spent"] == 25 * PRICE
    bodies = world.sql("SELECT count(*) AS n FROM results.answers WHERE body IS NOT NULL")
    assert bodies[0]["n"] == 3


def test_a_cap_is_never_passed(world: World, provider: Provider) -> None:
    world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 7)")
    world.seed(10, ["staff"])
    through(world)
    assert world.statuses() == {"COMPLETED": 3, "PENDING": 7}
    assert provider.charges.total() == 3
    world.sql("UPDATE caps SET most = 1000 WHERE scope = 'all'")
    through(world)
    assert world.statuses() == {"COMPLETED": 10}


def test_what_was_claimed_and_never_sent_is_given_back(world: World, provider: Provider) -> None:
    world.seed(2, ["staff"])
    world.tick()
    assert cap(world)["reserved"] == 2 * PRICE
    world.sql("UPDATE workflow_states SET lease_expires_at = now() - interval '1 s'")
    world.sql("UPDATE batches SET paused = true")
    world.tick()
    assert world.statuses() == {"PENDING": 2}
    world.store.resolve(world.store.now(), after_s=0)
    world.store.settle(world.store.now())
    assert cap(world)["reserved"] == 0
    assert provider.calls.total() == 0


def test_kept_answers_are_read_again_without_a_call(world: World, provider: Provider) -> None:
    provider.unknown = {"company-3.example.com"}
    world.seed(4, ["staff", "normalize"])
    through(world)
    world.sql("UPDATE results.staff SET employees = NULL")
    again = Rerun("staff", kept=True)
    assert rerun(world.operator, world.operator.batch("batch"), again) == 4
    through(world)
    assert provider.calls.total() == 4
    counts = world.sql("SELECT employees FROM results.staff WHERE employees IS NOT NULL")
    assert len(counts) == 3
    done = world.sql(
        "SELECT sum(completed) AS done, sum(not_found) AS missed FROM progress WHERE position = 0"
    )
    assert done == [{"done": 3, "missed": 1}]


def test_a_request_that_was_not_kept_is_not_sent_when_read_again(
    world: World, provider: Provider
) -> None:
    world.seed(1, ["staff"])
    through(world)
    rerun(world.operator, world.operator.batch("batch"), Rerun("staff", kept=True))

    async def other(company: object, paid: object) -> None:  # noqa: ARG001
        await paid.get(f"{provider.url}/enrich", params={"domain": "elsewhere.example.com"})  # type: ignore

    world.tick()
    world.work(replace(made(staff), function=other))
    assert world.statuses() == {"FAILED": 1}
    assert provider.calls.total() == 1


def test_a_rerun_can_buy_again(world: World, provider: Provider) -> None:
    world.seed(2, ["staff"])
    through(world)
    batch = world.operator.batch("batch")
    rerun(world.operator, batch, Rerun("staff"))
    through(world)
    assert provider.calls.total() == 2
    rerun(world.operator, batch, Rerun("staff", buy=True))
    through(world)
    assert provider.calls.total() == 4
    assert cap(world)["spent"] == 4 * PRICE
    assert world.statuses() == {"COMPLETED": 2}


@pytest.mark.usefixtures("provider")
def test_old_answers_go_and_the_totals_stay(world: World) -> None:
    world.seed(2, ["staff"])
    through(world)
    world.sql("UPDATE providers SET keep_for_s = 60")
    world.sql("UPDATE orders SET made_at = now() - interval '2 min' WHERE company_id = 1")
    world.store.prune(world.store.now())
    assert len(orders(world)) == 2  # still fresh
    world.sql("UPDATE enrichment_registry SET fresh_for_s = 30")
    world.store.prune(world.store.now())
    assert [order["company_id"] for order in orders(world)] == [2]
    assert len(world.sql("SELECT * FROM results.answers")) == 1
    assert cap(world)["spent"] == 2 * PRICE
    assert world.sql("SELECT sum(charged) AS charged FROM spend") == [{"charged": 2 * PRICE}]


@pytest.mark.usefixtures("provider")
def test_a_result_says_which_order_it_is_from(world: World) -> None:
    world.seed(1, ["staff"])
    through(world)
    (order,) = orders(world)
    batch = world.operator.batch("batch")
    tables = {"staff": Staff.__table__}  # type: ignore[attr-defined]
    (row,) = read_companies(world.operator, batch, tables, orders=True)
    source = row["staff.source"]
    assert (source["order"], source["provider"]) == (str(order["id"]), "acme")
    assert (source["price"], source["batch"]) == (PRICE, "batch")
    found = with_history(world.operator, 1, results(world.operator, 1, tables))
    assert found[0]["bought"]["order"] == order["id"]


@pytest.mark.usefixtures("provider")
def test_a_company_that_is_deleted_leaves_no_answer(world: World) -> None:
    world.seed(2, ["staff"])
    through(world)
    delete_company(world.operator, "company-0")
    assert len(world.sql("SELECT * FROM results.answers")) == 1
    assert sum(order["settled"] for order in orders(world)) == 2 * PRICE


@pytest.mark.usefixtures("provider")
def test_a_plan_says_what_a_file_may_cost(world: World, tracer: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "companies.csv"
    lines = [f"company-{n},company-{n}.example.com" for n in range(5)]
    file.write_text("\n".join(["key,domain", *lines[:3]]))
    tracer("seed", str(file), "--blueprint", "staff")
    through(world)
    tracer("caps", "set", "all", "9")
    file.write_text("\n".join(["key,domain", *lines]))
    found = tracer.json("plan", str(file), "--blueprint", "staff,normalize")
    (step,) = found["steps"]
    assert (step["companies"], step["fresh"], step["orders"]) == (5, 3, 2)
    assert found["highest_cost"] == 2 * PRICE
    assert found["caps"] == [{"scope": "all", "left": 3, "highest_cost": 4, "enough": False}]
    assert world.operator.batch_names() == ["companies"]
