"""What runs of the flow leave in Prefect's UI, seen in a real browser, and which of them fail."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, expect

from reconciler.contract.grants import CONDUCTOR
from tests import browser as chromium
from tests.reconciler.flows import Flows
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.reconciler.operator.report.reporting import make_past
from tests.roles import as_role, granted
from tests.world import World, wait_until

pytestmark = pytest.mark.timeout(240)  # a Prefect server has to start

SOON_MS = 15_000
AWAY, BACK = "The database is away, waiting for it", "The database is back"
MISSED = "The table tracer-batches is not up to date"
BREAK = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'tracer_conductor'
"""


@pytest.fixture(scope="module")
def prefect(prefect_database: Path) -> Iterator[Flows]:
    found = Flows(prefect_database)
    try:
        found.launch()
        yield found
    finally:
        found.stop()


@pytest.fixture
def flows(prefect: Flows) -> Iterator[Flows]:
    yield prefect
    if prefect.going_on:  # the test has failed: the next one has a process of its own
        prefect.relaunch()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running() as found:
        yield found


def quick(world: World) -> None:
    world.operator.set_polling(poll_s=0.05, idle_s=0.1)


def ticked(world: World) -> bool:
    return bool(world.sql("SELECT at FROM ticks"))


@pytest.mark.proof
def test_each_run_leaves_a_version_of_the_table_and_its_line(
    world: World, url: str, flows: Flows, browser: Browser
) -> None:
    quick(world)
    make_past(world.operator, "prospects", 200)
    world.seed(3, ["normalize", "step_a"], name="newcomers")
    conductor = as_role(granted(url), CONDUCTOR)
    with listening(flows.home):
        flows.begin(conductor, {"prefect.artifact.FIRST_S": 0.1})
        wait_until(lambda: ticked(world))
        world.operator.set_polling(paused=True)
        first, second = flows.end(), flows.run(conductor)
    assert first["says"].startswith("Left because polling is paused: claimed 3, ")
    assert second["says"] == "Left because polling is paused: nothing to do"
    tables = [flows.artifacts(run) for run in (first, second)]
    assert [len(found) for found in tables] == [1, 1]  # brought up to date, not written anew
    assert [found[0]["description"] for found in tables] == [first["says"], second["says"]]
    rows = json.loads(tables[1][0]["data"])
    assert [(row["batch"], row["step"], row["completed"]) for row in rows] == [
        *(("newcomers", "normalize", 0), ("newcomers", "step_a", 0)),
        *(("prospects", "normalize", 200), ("prospects", "step_a", 190)),
        ("prospects", "step_b", 190),
    ]
    with chromium.opened(browser) as (page, _):
        page.goto(f"{flows.ui_url}/artifacts/key/tracer-batches")
        expect(page.get_by_text(second["says"])).to_be_visible(timeout=SOON_MS)
        expect(page.get_by_role("link", name=tables[0][0]["id"][:8])).to_be_visible()
        page.get_by_role("link", name=tables[1][0]["id"][:8]).click()
        row = page.get_by_role("row").filter(has_text="step_b")
        expect(row).to_contain_text("prospects", timeout=SOON_MS)
        expect(row).to_contain_text("190")
        page.goto(f"{flows.ui_url}/runs/flow-run/{first['id']}")
        expect(page.get_by_text(first["says"], exact=True)).to_be_visible(timeout=SOON_MS)


def test_a_loop_that_is_taken_over_after_an_outage_is_no_failure(
    world: World, url: str, flows: Flows
) -> None:
    quick(world)
    flows.begin(as_role(granted(url), CONDUCTOR), {"prefect.artifact.FIRST_S": 0.1})
    wait_until(lambda: world.operator.polling()["ticked_at"])
    away, back = flows.logged(AWAY), flows.logged(BACK)
    with listening(flows.home):
        world.seed(2)
        with psycopg.connect(url) as locked:  # cut off in a statement: idle, it would not notice
            locked.execute("LOCK TABLE polling")
            world.wait_for_blocked()
            locked.execute(BREAK)
        wait_until(lambda: flows.logged(BACK) > back and ticked(world))
        world.store.take_over()
        run = flows.end()
    assert run["state"] == "COMPLETED"
    assert run["says"].startswith("Left because a newer loop has taken over: claimed 2")
    assert flows.logged(AWAY) == away + 1


def test_a_run_that_starts_while_the_database_is_away_waits_for_it(
    world: World, url: str, flows: Flows
) -> None:
    """Here it is not there yet; later than `PATIENCE_S` the run says so, and fails."""
    world.operator.set_polling(paused=True)
    late = url.replace("/test_", "/late_")
    away = flows.logged(AWAY)
    flows.begin(late)
    wait_until(lambda: flows.logged(AWAY) > away)
    world.operator.close()
    world.worker.close()
    world.store.close()
    name = late.partition("?")[0].rpartition("/")[2]
    admin = url.replace(f"/{name.replace('late_', 'test_')}?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {name.replace('late_', 'test_')}")
        run = flows.end()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert (run["state"], run["says"]) == (
        "COMPLETED",
        "Left because polling is paused: nothing to do",
    )
    run = flows.run(late, {"flow.PATIENCE_S": 0.1})
    assert run["state"] == "FAILED"
    assert run["says"].startswith("The database has not answered for 0.1 s. ")


def test_a_page_that_cannot_be_written_fails_no_run(world: World, url: str, flows: Flows) -> None:
    """Prefect's server is silent when the run would write it, and is back for its end."""
    quick(world)
    flows.begin(url, {"prefect.artifact.WITHIN_S": 0.3})
    wait_until(lambda: world.operator.polling()["ticked_at"])
    missed = flows.logged(MISSED)
    with flows.silent():
        world.operator.set_polling(paused=True)
        wait_until(lambda: flows.logged(MISSED) > missed)
    run = flows.end()
    assert (run["state"], flows.artifacts(run)) == ("COMPLETED", [])


AUTOMATION = {
    "name": "A batch has ended",
    "trigger": {
        "type": "event",
        "posture": "Reactive",
        "threshold": 1,
        "within": 0,
        "expect": ["tracer.batch.finished"],
        "match": {"prefect.resource.id": "tracer.batch.*"},
    },
    "actions": [{"type": "do-nothing"}],
}


def ended(world: World, name: str) -> None:
    """A batch whose rows have ended, for the next tick to finish."""
    world.seed(3, ["normalize"], name=name)
    world.tick()
    world.work(ids=world.ids()[:2])
    world.sql(
        "UPDATE workflow_states SET status = 'FAILED', lease_expires_at = NULL,"
        " finished_at = now(), error = 'Acme', error_kind = 'raised' WHERE status = 'QUEUED'"
    )


def finished(world: World, name: str) -> bool:
    return world.operator.batch(name).status == "FINISHED"


def test_a_batch_that_ends_is_an_event(world: World, url: str, flows: Flows) -> None:
    """Its counts, and nothing of a company; an automation acts on it, as the docs have one."""
    quick(world)
    flows.call("POST", "automations/", AUTOMATION)
    ended(world, "announced")
    conductor = as_role(granted(url), CONDUCTOR)
    with listening(flows.home):
        flows.begin(conductor)
        wait_until(lambda: finished(world, "announced"))
        world.operator.set_polling(paused=True)
        run = flows.end()
    assert run["state"] == "COMPLETED"
    wait_until(lambda: flows.events("tracer.batch.finished"))
    (event,) = flows.events("tracer.batch.finished")
    assert event["resource"] == {
        "prefect.resource.id": "tracer.batch.announced",
        "prefect.resource.name": "announced",
    }
    assert event["payload"] == {
        "batch": "announced",
        "companies": 3,
        "rows": {"COMPLETED": 2, "FAILED": 1},
    }
    assert f"prefect.flow-run.{run['id']}" in str(event["related"])
    wait_until(lambda: flows.events("prefect.automation.triggered"))


def test_an_event_that_nobody_takes_stops_no_loop(world: World, url: str, flows: Flows) -> None:
    """Prefect's server is silent while the batch ends, and back for the run's end."""
    quick(world)
    with listening(flows.home):
        flows.begin(url, {"prefect.artifact.WITHIN_S": 0.3})
        wait_until(lambda: world.operator.polling()["ticked_at"])
        with flows.silent():
            ended(world, "unheard")
            wait_until(lambda: finished(world, "unheard"))
            world.seed(1, name="another")
            wait_until(lambda: world.rows("status = 'QUEUED'"))
        world.operator.set_polling(paused=True)
        run = flows.end()
    assert run["state"] == "COMPLETED"


def test_a_schema_that_is_not_known_fails_with_a_sentence(
    world: World, url: str, flows: Flows
) -> None:
    world.sql("UPDATE tracer_version SET version_num = '0001'")
    run = flows.run(url)
    assert run["state"] == "FAILED"
    assert run["says"].startswith("The schema is too old: it has revision 0001, ")
    assert run["says"].endswith("run `tracer db upgrade`.")


def test_without_any_database_a_run_fails_with_a_sentence(flows: Flows) -> None:
    run = flows.run(None)
    assert run["state"] == "FAILED"
    assert run["says"] == (
        "DATABASE_URL is not set where this run was started. "
        "The database has no Tracer schema yet: run `tracer db upgrade`."
    )


def test_a_crash_fails_and_says_what_it_was(world: World, url: str, flows: Flows) -> None:
    quick(world)
    world.sql("ALTER TABLE ticks RENAME TO gone")
    run = flows.run(url)
    assert run["state"] == "FAILED"
    assert 'relation "ticks" does not exist' in run["says"]
