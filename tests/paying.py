"""Steps that buy at the provider on loopback, and a database in which they are registered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from reconciler.contract.orders import Receipt
from reconciler.contract.worker_store import Attempt
from reconciler.policy import judge
from reconciler.schema.steps import sync_steps
from tests.standins.provider import Provider
from tests.world import STEPS, World
from workers.kit import Company, Order, Paid, Step, StepResult, step
from workers.paid import Answer, Asking

PRICE = 2
PLACE: dict[str, str] = {}  # where the provider is


class Staff(StepResult, table=True):
    __tablename__ = "staff"
    employees: int | None = None


@step(provider="acme", price=PRICE, fresh_for="90d", bills="hit", timeout_s=5)
async def staff(company: Company, paid: Paid) -> Staff | None:
    answer = await paid.get(f"{PLACE['url']}/enrich", params={"domain": company.domain})
    return None if answer.status == 404 else Staff(employees=answer.json()["employees"])


class Crowd(StepResult, table=True):
    __tablename__ = "crowd"
    employees: int | None = None


@step(provider="acme", price=PRICE, bulk=10, fresh_for="90d", timeout_s=5)
async def crowd(companies: list[Company], paid: Paid) -> dict[int, Crowd | Exception | None]:
    domains = [company.domain for company in companies]
    answer = await paid.post(f"{PLACE['url']}/enrich/many", json={"domains": domains})
    found = answer.json()["companies"]
    return {c.id: Crowd(employees=found[c.domain]) for c in companies if c.domain in found}


class Census(StepResult, table=True):
    __tablename__ = "census"
    employees: int | None = None


@step(provider="acme", price=PRICE, recall="lookup", timeout_s=5)
async def census(company: Company, paid: Paid) -> Census | None:
    answer = await paid.get(f"{PLACE['url']}/enrich", params={"domain": company.domain})
    return Census(employees=answer.json()["employees"])


@census.lookup  # type: ignore[attr-defined]
async def arrived(order: Order) -> Any:
    import aiohttp

    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{PLACE['url']}/orders/{order.id}") as response,
    ):
        return await response.json() if response.status == 200 else None


def made(function: Callable[..., Any], **changes: Any) -> Step:
    """The step of a function, with some fields changed."""
    return replace(function.tracer_step, **changes)  # type: ignore[attr-defined]


def with_paid_steps(url: str) -> None:
    """Register them beside the bundled ones: what such tests are `filled` with.

    To do so in the database of each would take 0.2 s of CPU.
    """
    steps = {found.name: found for found in map(made, (staff, crowd, census))}
    sync_steps(url, {**STEPS, **steps})


@contextmanager
def paying(**changes: Any) -> Iterator[Provider]:
    """The provider where these steps buy."""
    with Provider(**changes).running() as provider:
        PLACE["url"] = provider.url
        yield provider


def register(world: World, *functions: Callable[..., Any], **changes: Any) -> None:
    """Register these steps beside the bundled ones."""
    steps = {(found := made(function, **changes)).name: found for function in functions}
    sync_steps(url_of(world), {**STEPS, **steps})


def url_of(world: World) -> str:
    """The URL of a world's database."""
    return world.operator._pool.conninfo


def through(world: World, step: Callable[..., Any] | Step = staff, ticks: int = 20) -> None:
    """Tick and work until nothing is left to do; rows in backoff are not waited for."""
    world.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0")
    for _ in range(ticks):
        did = world.tick()
        report = world.work(step if isinstance(step, Step) else made(step))
        if not did and not report.begun:
            return
    raise AssertionError("it does not end")


def receipt(attempt: Attempt, tried: int, status: int = 200, charge: int = PRICE) -> Receipt:
    """What a worker writes for an answer to the attempt's call number `tried`."""
    assert attempt.order
    answer, refused = Answer(status), Answer(status).refused
    return Asking(0, "hash", {}, None).receipt(
        [attempt.order.id], [tried], answer, Decimal(0 if refused else charge)
    )


def begun(world: World, step: Step) -> list[Attempt]:
    """What a worker begins of it."""
    return world.worker.begin(step.name, world.ids(), buying=step.buying, alone=True)


def claimed(world: World, step: Step | None = None) -> Attempt:
    """The next attempt at the only company, which has sent nothing yet."""
    world.store.claim(world.store.now())
    (found,) = begun(world, step or made(staff))
    return found


def asked(world: World) -> Attempt:
    """The same, which has sent its call."""
    found = claimed(world)
    world.worker.send([found])
    return found


def lose(world: World) -> None:
    """Every lease ends, and a tick takes the attempts away; rows may be claimed again at once."""
    world.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0, max_attempts = 99")
    world.sql(
        "UPDATE workflow_states SET lease_expires_at = now() - interval '1 s'"
        " WHERE lease_expires_at IS NOT NULL"
    )
    now = world.store.now()
    world.store.reap(now, lambda row: judge(row, now, 0.5))


def settle(world: World) -> None:
    """Resolve and settle, as a tick does."""
    now = world.store.now()
    world.store.resolve(now, after_s=0)
    world.store.settle(now)


def orders(world: World) -> list[dict[str, Any]]:
    """All orders, in the order in which they were made."""
    return world.sql("SELECT * FROM orders ORDER BY made_at, company_id, id")


def cap(world: World, scope: str = "all") -> dict[str, Any]:
    """The newest row of a scope."""
    (found,) = world.sql(
        "SELECT * FROM caps WHERE scope = %(scope)s ORDER BY since DESC LIMIT 1", scope=scope
    )
    return found


NOT_PAID = made(staff, signature=replace(made(staff).signature, paid=None))
# What makes an order another's than that of the attempt which was begun with it, or ends it.
ANOTHERS = ("for_batch = NULL", "for_attempt = for_attempt + 1")
OVER = ("void_at = now()", "superseded_at = now()")
ANSWERED = "sent_at = now(), answered_at = now(), charged = 1"


def by_result(world: World) -> None:
    """Register the step as one that calls without `paid`."""
    register(world, staff, signature=NOT_PAID.signature)
