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
from reconciler.contract.states import IN_FLIGHT
from reconciler.operator.diagnosis.explain import explain, read_row
from tests.system.crash import HEART, Place, Probe, statements
from tests.system.crash_run import Run, Scenario
from tests.system.crash_scenarios import SCENARIOS
from tests.world import STEPS, World

BEATS_ALIKE = 1  # of the heart's boundaries, how many are places: how often it beats is the clock's
# Without a backoff, the tick that reaps a row also claims it: fewer places that are alike.
SETTINGS = {"lease_s": 60, "max_attempts": 6, "backoff_s": 0, "backoff_max_s": 0}
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def clear(world: World) -> None:
    """Take away what the last run left."""
    results = [f"results.{step.table.__tablename__}" for step in STEPS.values()]
    for table in ("batches", "companies", "ticks", "throttles", *results):
        world.sql(f"DELETE FROM {table}")
    world.sql("UPDATE polling SET generation = 0, ticked_at = NULL")


def live(scenario: Scenario, url: str, world: World, probe: Probe) -> Run:
    """One run of the scenario, from its seeding to its end."""
    clear(world)
    for step in scenario.blueprint:
        world.operator.set_step(step, {**SETTINGS, **scenario.settings})
    for name, keys in scenario.batches.items():
        world.seed(keys, scenario.blueprint, name=name)
    run = Run(scenario, url, world, probe)
    run.through(look)
    look(run)
    return run


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
        green = {
            r["company_id"] for r in rows if (r["step_name"], r["status"]) == (step, "COMPLETED")
        }
        table = STEPS[step].table.__tablename__
        landed = [row["company_id"] for row in world.sql(f"SELECT company_id FROM results.{table}")]
        assert Counter(landed) == Counter(green), "green means landed"
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
    found: dict[str, Counter[str]] = {}
    for row in run.world.rows():
        found.setdefault(row["step_name"], Counter())[row["status"]] += 1
    assert found == run.scenario.ends
    assert run.landed <= run.green()
    for about, cost in costs(run).items():
        assert cost <= undisturbed[about] + 1, f"{about}: {cost} after one death"
    assert not run.world.store.calls_to_cancel()
    assert not run.reconcile(), "nothing is left to do"
    before = run.world.rows()
    for chunk, call_id in run.far.taken:  # calls arrive at least once
        run.do(chunk, call_id)
    assert run.world.rows() == before, "a call that comes again changes nothing"


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("a permanent error", 5),
        *(pytest.param(name, 1, marks=pytest.mark.proof) for name in BY_NAME),
    ],
)
def test_a_death_costs_an_attempt_at_most(name: str, each: int, url: str, world: World) -> None:
    """At every place, or at each fifth."""
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


# A hold moves no row. Whoever dies before it is written leaves the same fault to the next worker.
ALONE = ["HOLD"]


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
    assert unmet == ALONE
    count = sum(len(places(run)) for run in wholes)
    tried = sum(len(deaths(run)) for run in wholes)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{2 * count} places to die: before and after {count} boundaries of {len(wholes)} "
            f"scenarios, by {tried} deaths, with every one of {len(named)} statements\n"
        )
    assert count > 400
