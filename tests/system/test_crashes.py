"""Every boundary of the tick, the spawner and the worker is a place to die, before and after it.

The places come from an undisturbed run of each scenario, and every one of them gets a run of its
own in which a program dies there. Ticks and workers that know nothing of it bring the batch to its
end: nothing is missing, nothing is there twice, and no row is without a reason.
"""

import sys
from collections import Counter
from types import ModuleType

import pytest

from reconciler.contract import store, worker_store
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.recall import Recall
from reconciler.contract.states import IN_FLIGHT
from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.operator.money.orders import Wanted, read_orders, settle
from tests.system.crash import HEART, Place, Probe, statements
from tests.system.crash_provider import PRICE, Deal
from tests.system.crash_run import Run, Scenario
from tests.system.crash_scenarios import SCENARIOS
from tests.world import STEPS, World

BEATS_ALIKE = 1  # of the heart's boundaries, how many are places: how often it beats is the clock's
# Without a backoff, the tick that reaps a row also claims it: fewer places that are alike.
SETTINGS = {
    "lease_s": 60,
    "max_attempts": 6,
    "backoff_s": 0,
    "backoff_max_s": 0,
    "chunk_size": 100,
    "hold_after": 20,
}
KEPT = ("results.superseded",)
HISTORY = "SELECT company_id FROM results.superseded WHERE table_name = %(table)s"
# Where providers have limits, late calls wait for a quarter of a second.
EACH = (pytest.mark.proof, pytest.mark.timeout(400))
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def clear(world: World) -> None:
    """Take away what the last run left."""
    results = [f"results.{step.table.__tablename__}" for step in STEPS.values()]
    for table in ("batches", "companies", "ticks", "throttles", "holds", *results, *KEPT):
        world.sql(f"DELETE FROM {table}")
    world.sql("UPDATE polling SET generation = 0, ticked_at = NULL")


def live(scenario: Scenario, url: str, world: World, probe: Probe) -> Run:
    """One run of the scenario, from its seeding to its end."""
    clear(world)
    for step in scenario.blueprint:
        world.operator.set_step(step, {**SETTINGS, **scenario.settings})
    price(world, scenario)
    for name, keys in scenario.batches.items():
        world.seed(keys, scenario.blueprint, name=name)
    run = Run(scenario, url, world, probe)
    run.through(look)
    look(run)
    return run


def price(world: World, scenario: Scenario) -> None:
    """Have the first step buy, or not; every order counts against a cap."""
    for table in ("orders", "caps", "spend", "provider_calls", "providers"):
        world.sql(f"DELETE FROM {table}")
    deal = scenario.deal
    if deal and deal.limits:
        values = ", ".join(f"%({name})s" for name in deal.limits)
        world.sql(
            f"INSERT INTO providers (name, {', '.join(deal.limits)}) VALUES ('acme', {values})",
            **deal.limits,
        )
    world.sql(
        "UPDATE enrichment_registry SET price = %(price)s, fresh_for_s = %(fresh_for_s)s,"
        " provider = %(provider)s, recall = %(recall)s WHERE step_name = %(step)s",
        price=PRICE if deal else 0,
        fresh_for_s=86_400 if deal else None,
        provider="acme" if deal else None,
        recall=deal.recall if deal else Recall.NONE,
        step=scenario.blueprint[0],
    )


def places(run: Run) -> list[Place]:
    return [p for p in run.probe.crossed if p.thread != HEART or p.number <= BEATS_ALIKE]


def deaths(run: Run) -> list[tuple[Place, str]]:
    """Before and after every place. Where a program goes from one straight to the next, after the
    one is before the other, and is tried once."""
    found, last = [], None
    for place in places(run):
        if last is None or (place.program, place.thread) != (last.program, last.thread):
            found.append((place, "before"))
        found.append((place, "after"))
        last = place
    return found


def look(run: Run) -> None:
    """What holds at every moment, whoever has just died."""
    world = run.world
    rows = world.rows()
    for step in run.scenario.blueprint:
        green = [
            r["company_id"] for r in rows if (r["step_name"], r["status"]) == (step, "COMPLETED")
        ]
        table = STEPS[step].table.__tablename__
        landed = [row["company_id"] for row in world.sql(f"SELECT company_id FROM results.{table}")]
        assert Counter(landed) == Counter(set(green)), "green means landed"
        kept = [row["company_id"] for row in world.sql(HISTORY, table=table)]
        reused = [r["company_id"] for r in rows if r["reused"] and r["step_name"] == step]
        written = Counter(green) - Counter(reused)
        assert Counter(landed) + Counter(kept) == written, "every result is kept, once"
    flying = [(r["company_id"], r["step_name"]) for r in rows if r["status"] in IN_FLIGHT]
    assert len(flying) == len(set(flying)), "one of a company and step is in flight"
    for row in rows:
        assert (row["lease_expires_at"] is not None) == (row["status"] in IN_FLIGHT)
    for name, keys in run.scenario.batches.items():
        batch = world.operator.batch(name)
        for key in keys:
            assert explain(read_row(world.operator, batch, key)).says, "every row has a reason"
    for key, times in run.paid.items():
        assert run.ran[key] == times, "nothing is paid twice after it was green"
    reserved(run)


def reserved(run: Run) -> None:
    """What holds of money at every moment: what may still be charged is reserved, and what was
    charged is known, or known to be unknown."""
    orders = run.world.sql("SELECT o.*, c.key FROM orders o JOIN companies c ON c.id = company_id")
    noted = {o["key"] for o in orders if o["answered_at"] or o["tries"] > o["known"]}
    assert run.provider.charges.keys() <= noted
    waiting = [order for order in orders if order["settled_at"] is None]
    still = sum(order["price"] - min(order["settled"] or 0, order["price"]) for order in waiting)
    for cap in run.world.sql("SELECT * FROM caps WHERE scope = 'all'"):
        assert cap["reserved"] == still


def costs(run: Run) -> Counter[tuple[str, str, str, str]]:
    """Attempts and calls of the step function, per company, step and batch."""
    found = Counter[tuple[str, str, str, str]]()
    named = (
        "SELECT w.*, c.key, b.name FROM workflow_states w"
        " JOIN companies c ON c.id = w.company_id JOIN batches b ON b.id = w.batch_id"
    )
    for row in run.world.sql(named):
        about = row["key"], row["step_name"], row["name"]
        found["attempts", *about] = row["attempt"]
        found["calls", *about] = run.ran[row["company_id"], row["step_name"], row["batch_id"]]
    return found


def judge(run: Run, undisturbed: "Counter[tuple[str, str, str, str]]") -> None:
    """What holds at the end: all is there once, at the cost of one attempt at most."""
    ended(run)
    assert run.landed <= run.green()
    for about, cost in costs(run).items():
        assert cost <= undisturbed[about] + 1, f"{about}: {cost} after one death"
    accounts(run)
    assert not run.world.store.calls_to_cancel()
    assert not run.reconcile(), "nothing is left to do"
    before = run.world.rows()
    for chunk, call_id in run.far.taken:  # calls arrive at least once
        run.do(chunk, call_id)
    assert run.world.rows() == before, "a call that comes again changes nothing"


def ended(run: Run) -> None:
    """Each row ends as it was meant to. But a row whose call was under way at the death, and cannot
    be repeated, has failed."""
    found = {step: Counter[str]() for step in run.scenario.blueprint}
    for row in run.world.rows():
        found[row["step_name"]][row["status"]] += 1
    deal = run.scenario.deal
    if not deal or deal.recall is not Recall.NONE:
        assert found == run.scenario.ends
        return
    ((step, meant),) = run.scenario.ends.items()
    assert found[step].total() == sum(meant.values())
    assert found[step].keys() <= {"COMPLETED", "FAILED"}
    assert found[step]["FAILED"] <= meant["FAILED"] + (deal.bulk or 1), "more than was under way"


def accounts(run: Run) -> None:
    """What was bought, by the provider's count, the orders, the caps and the days."""
    deal = run.scenario.deal
    if not deal:
        return
    if deal.recall is not Recall.AGAIN:
        settle_unknown(run, deal)
        run.reconcile()
    orders = run.world.sql("SELECT * FROM orders")
    assert all(order["settled_at"] for order in orders), "all is decided"
    booked = sum(order["settled"] for order in orders)
    for scopes in run.world.sql(
        "SELECT sum(reserved) AS reserved, sum(spent) AS spent FROM caps"
        " GROUP BY CASE WHEN scope LIKE 'batch:%%' THEN 'batch' ELSE scope END"
    ):
        assert (scopes["reserved"], scopes["spent"]) == (0, booked)
    (spent,) = run.world.sql("SELECT sum(charged) AS charged, sum(unknown) AS unknown FROM spend")
    assert (spent["charged"], spent["unknown"]) == (booked, 0)
    if deal.recall is not Recall.AGAIN:
        assert booked == PRICE * run.provider.charges.total()
    if deal.limits:
        at_its_door(run)


def at_its_door(run: Run) -> None:
    """Each call that the provider had is counted; and it is known to be well."""
    (counted,) = run.world.sql("SELECT count(*) AS calls FROM provider_calls")
    assert run.provider.calls.total() <= counted["calls"]
    (provider,) = run.world.sql("SELECT failures, pause_kind FROM providers")
    assert provider["failures"] == 0


def settle_unknown(run: Run, deal: Deal) -> None:
    """Nothing is charged twice, or without an answer that is kept or an order that is shown; of
    those that are, a person says what the provider's account has."""
    charges, operator = run.provider.charges, run.world.operator
    kept = run.world.sql(
        "SELECT DISTINCT c.key FROM results.answers a JOIN orders o ON o.id = a.order_id"
        " JOIN companies c ON c.id = o.company_id WHERE a.final"
    )
    bought = Counter(row["key"] for row in kept)
    unknown = read_orders(operator, Wanted(unknown=True), 100)
    shown = Counter(order["company"] for order in unknown)
    failed = run.world.sql(
        "SELECT c.key, error_kind FROM workflow_states JOIN companies c ON c.id = company_id"
        " WHERE status = 'FAILED'"
    )
    assert set(charges.values()) == {1}, "each company is charged once at most"
    assert bought <= charges <= bought + shown
    assert shown == Counter(row["key"] for row in failed)
    assert {row["error_kind"] for row in failed} <= {ErrorKind.MAY_BE_CHARGED}
    assert not shown or deal.recall is Recall.NONE
    for order in unknown:
        charged = charges[order["company"]] > 0
        assert settle(operator, Wanted(order_id=order["order"]), charged=charged) == 1


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("a permanent error", 5),
        ("a step that looks up what became of a call", 13),
        ("a step that buys for many with one call", 13),
        ("a step that buys at a provider with limits, which was failing and is well again", 29),
        *(pytest.param(name, 1, marks=EACH) for name in BY_NAME),
    ],
)
def test_a_death_costs_an_attempt_at_most(name: str, each: int, url: str, world: World) -> None:
    """At every place, or at each so-manyth."""
    scenario = BY_NAME[name]
    whole = live(scenario, url, world, Probe())
    undisturbed = costs(whole)
    judge(whole, undisturbed)
    for place, moment in deaths(whole)[::each]:
        try:
            run = live(scenario, url, world, Probe(doomed=(place, moment)))
            assert run.probe.dead, "nobody came there"
            judge(run, undisturbed)
        except BaseException as error:
            error.add_note(f"died {moment} {place} of: {name}")
            raise


def rooms_of(*stores: ModuleType) -> list[ModuleType]:
    """The modules of statements that the verbs of the tick and the workers come from."""
    values = [value for module in stores for value in vars(module).values()]
    return [v for v in values if isinstance(v, ModuleType) and ".sql." in v.__name__]


@pytest.fixture
def wholes(url: str, world: World) -> list[Run]:
    return [live(scenario, url, world, Probe()) for scenario in SCENARIOS]


def test_every_statement_is_a_place(wholes: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the modules, as they are: a new statement needs a scenario that comes to it."""
    sent = [place.what for run in wholes for place in run.probe.crossed]
    named = statements(*rooms_of(store, worker_store))
    assert len(named) > 10
    unmet = [n for n, pattern in named.items() if not any(map(pattern.fullmatch, sent))]
    assert unmet == []
    count = sum(len(places(run)) for run in wholes)
    tried = sum(len(deaths(run)) for run in wholes)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{2 * count} places to die: before and after {count} boundaries of {len(wholes)} "
            f"scenarios, by {tried} deaths, with every one of {len(named)} statements\n"
        )
    assert count > 400
