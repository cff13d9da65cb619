"""A life of steps that buy, each side under its own role: every verb and statement of money."""

from dataclasses import replace
from datetime import timedelta

from reconciler.contract.limits import Pause, PauseKind
from reconciler.schema.steps import sync_steps
from tests.paying import census, lose, made, paying, staff, with_paid_steps
from tests.roles import RoleWorld
from tests.standins.provider import DROP
from tests.world import STEPS
from workers.kit import Company, Paid, Provider
from workers.paid import Terms
from workers.steps.normalize import Normalized


def a_money_life(world: RoleWorld) -> None:
    """Bought, shared, refused, lost, looked up, bought anew, booked, and at last forgotten."""
    with_paid_steps(world.owner._pool.conninfo)
    with paying() as provider:
        by_result = replace(STEPS["normalize"], provider=Provider("acme"), terms=Terms(price=2))  # type: ignore[arg-type]
        sync_steps(world.owner._pool.conninfo, {"normalize": by_result})
        world.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0")
        world.sql("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 1000)")
        world.seed(3, ["normalize", "staff", "census"], name="first")
        provider.do("company-0.example.com", 429, 200, DROP)
        provider.do("company-1.example.com", DROP)
        world.sql(
            'UPDATE providers SET windows = \'[{"limit": 1000, "seconds": 3600}]\','
            " spacing_s = 0.001, max_concurrent = 1000"
        )
        for _ in range(6):
            world.tick()
            world.sql("UPDATE orders SET send_at = send_at - interval '1 minute'")
            world.work(replace(by_result, function=some))
            world.work(made(staff))
            world.work(made(census))
        recover(world)
        lose(world)
        again = world.seed(3, ["staff"], name="again")
        world.tick()
        world.sql("UPDATE batches SET buy = '{staff}' WHERE name = %(name)s", name=again)
        world.seed(["x", "company-0"], ["staff"], name="more")
        world.sql("UPDATE batches SET buy = '{staff}' WHERE name = 'more'")
        world.tick()
        world.work(replace(made(staff), function=blind))
        lose(world)
        world.tick()
        world.work(made(staff))
        world.tick(world.store.now() + timedelta(hours=1))
        world.store.resolve(world.store.now(), after_s=0)
        world.store.settle(world.store.now())
        world.sql("UPDATE providers SET keep_for_s = 1")
        world.store.prune(world.store.now() + timedelta(days=365))


def recover(world: RoleWorld) -> None:
    """The provider fails, and is well again."""
    world.worker.pause_provider("acme", Pause(PauseKind.FAILING, "it answered 500"))
    world.sql("UPDATE providers SET paused_until = now() - interval '1 s'")
    world.worker.note_recovered("acme")


async def blind(company: Company, paid: Paid) -> None:
    await paid.call(lambda _: {"employees": 1}, company.key)
    raise ValueError("cannot read it")


def some(company: Company) -> Normalized | None:
    return None if company.key == "company-2" else Normalized(domain=company.domain)
