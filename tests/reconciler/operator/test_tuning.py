"""`tracer interval tune`: what it reads of a database, what it chooses, and what it sets."""

from random import Random
from typing import Any

import pytest

from reconciler.contract.errors import Unreachable
from reconciler.contract.grants import OPERATOR
from reconciler.contract.settings import Settings
from reconciler.operator.store import OperatorStore
from reconciler.operator.tuning import (
    COMPANIES,
    EVERY_S,
    PAGES,
    PICKUPS,
    POLLS_S,
    latency_s,
    longest_poll_s,
    read_pickups,
)
from reconciler.prefect import schedule
from tests.reconciler.contract.large_table import begin, scans
from tests.roles import as_role, granted
from tests.system.machine.sides import line, side
from tests.terminal import Terminal
from tests.world import World

# Every company has done two steps; of company n, both began 0.1 s and n milliseconds after the
# tick, and the second one's tick came n ms after the end of the first.
DONE = """
WITH took AS (
    SELECT c.id AS company_id, b.id AS batch_id, make_interval(secs => c.id %% 400 / 1000.0) AS n,
        now() - %(ago)s::interval AS at
    FROM batches b
    JOIN batch_companies m ON m.batch_id = b.id
    JOIN companies c ON c.id = m.company_id
    WHERE b.name = %(name)s
), first AS (
    UPDATE workflow_states w
    SET status = 'COMPLETED', attempt = 1, advanced = true, queued_at = t.at,
        started_at = t.at + interval '0.1 s' + n, finished_at = t.at + interval '1 s'
    FROM took t
    WHERE w.company_id = t.company_id AND w.batch_id = t.batch_id
)
INSERT INTO workflow_states (company_id, step_name, batch_id, position, status, attempt, advanced,
    queued_at, started_at, finished_at)
SELECT company_id, 'step_a', batch_id, 1, 'COMPLETED', 1, true, at + interval '1 s' + n,
    at + interval '1.1 s' + n + n, at + interval '2 s'
FROM took
"""


def lived(world: World, companies: int, ago: str = "10 min", name: str = "batch") -> None:
    """A batch that was done `ago`."""
    world.seed([f"{name}-{i}" for i in range(companies)], ("normalize", "step_a"), name)
    world.sql(DONE, ago=ago, name=name)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float | str]:
    """A Prefect server with the deployment: what it is told, schedules in seconds."""
    said: list[float | str] = []
    found = schedule.Schedule("http://prefect", 120.0, False, None, True, True)

    def set_every(_: Settings, seconds: float) -> schedule.Schedule:
        said.append(seconds)
        return found

    monkeypatch.setattr(schedule, "read_schedule", lambda _: found)
    monkeypatch.setattr(schedule, "set_every", set_every)
    monkeypatch.setattr(schedule, "run_now", lambda _: said.append("run now"))
    return said


def test_pick_ups_are_read_as_they_were(world: World) -> None:
    lived(world, 400)
    found = read_pickups(world.operator)
    assert (found.rows, found.pickups, found.mixed) == (800, 400, True)
    assert found.overhead_p50_s == pytest.approx(0.3, abs=0.01)
    assert found.overhead_p95_s == pytest.approx(0.48, abs=0.01)
    assert found.pickup_p50_s == pytest.approx(0.1 + 0.4, abs=0.01)
    assert found.pickup_p95_s == pytest.approx(0.1 + 0.76, abs=0.01)


def test_what_is_older_or_took_more_attempts_is_no_pick_up(world: World) -> None:
    lived(world, 30)
    lived(world, 40, ago="2 hours", name="older")
    world.sql("UPDATE workflow_states SET attempt = 2 WHERE position = 1 AND company_id <= 10")
    world.sql("UPDATE polling SET changed_at = now() - interval '1 hour'")
    found = read_pickups(world.operator)
    assert (found.rows, found.pickups, found.mixed) == (60, 20, False)


def test_how_long_a_tick_takes_that_claims(world: World) -> None:
    assert read_pickups(world.operator).tick_p95_s is None
    world.claimed()
    took_s = read_pickups(world.operator).tick_p95_s
    assert took_s is not None
    assert 0 < took_s < 30


def test_a_small_batch_is_found_in_a_large_table_which_is_not_read(world: World, url: str) -> None:
    """Old rows are a thousand times as many: hardly a page of the sample holds a late one."""
    lived(world, 20_000, ago="2 days", name="old")
    world.sql("DELETE FROM progress")
    lived(world, COMPANIES, name="new")
    made = side(OperatorStore, url)
    begin(line(made).only, "custom")
    found = read_pickups(made)
    assert scans(line(made).only) == 0
    made.close()
    assert (found.rows, found.pickups) == (2 * COMPANIES, COMPANIES)


def test_of_a_large_table_a_bounded_part_is_read(world: World, url: str) -> None:
    lived(world, 30_000)
    (table,) = world.sql("SELECT pg_relation_size('workflow_states') / 8192 AS pages")
    assert table["pages"] > 2 * PAGES
    made = side(OperatorStore, url)
    begin(line(made).only, "generic")
    found = read_pickups(made)
    assert scans(line(made).only) == 0
    made.close()
    assert 5_000 < found.rows < 30_000
    assert found.pickups == PICKUPS
    assert found.overhead_p95_s == pytest.approx(0.48, abs=0.05)


def test_everything_is_one_document(
    tracer: Terminal, world: World, told: list[float | str]
) -> None:
    lived(world, 400)
    found = tracer.json("interval", "tune", "--p95", "2")
    assert found["target_p95_s"] == 2
    assert found["chosen"]["poll_s"] == found["chosen"]["idle_s"] == 1.5
    assert found["chosen"]["every_s"] == EVERY_S
    assert found["chosen"]["p95_s"] == pytest.approx(0.48 + 0.95 * 1.5, abs=0.01)
    measured = found["measured"]
    assert (measured["rows"], measured["pickups"], measured["mixed"]) == (800, 400, True)
    assert measured["overhead_p95_s"] == pytest.approx(0.48, abs=0.01)
    assert measured["pickup_p95_s"] == pytest.approx(0.86, abs=0.01)
    assert found["present"]["p95_s"] == pytest.approx(0.48 + 0.95, abs=0.01)
    assert (found["schedule_left"], found["applied"], told) == (None, False, [])


def test_what_was_chosen_is_set_when_it_is_asked_for(
    tracer: Terminal, world: World, told: list[float | str]
) -> None:
    lived(world, 400)
    before = world.operator.polling()
    tracer("interval", "tune", "--p95", "1m")
    assert world.operator.polling() | {"now": None} == before | {"now": None}
    shown = tracer("interval", "tune", "--p95", "1500ms", "--apply")
    assert "Chosen: poll 1 s, idle 1 s, every 10 min." in shown
    polling = world.operator.polling()
    assert [polling[name] for name in ("poll_s", "idle_s", "every_s")] == [1, 1, EVERY_S]
    assert polling["latency_target_s"] == 1.5
    assert told == [EVERY_S, "run now"]
    assert tracer.json("interval", "tune")["target_p95_s"] == 1.5
    assert "every 10 min, as it is now." in tracer("interval", "tune")


@pytest.mark.usefixtures("told")
def test_nothing_is_set_where_prefect_fails(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unreachable("No Prefect server answers.")

    monkeypatch.setattr(schedule, "set_every", away)
    lived(world, 30)
    before = world.operator.polling()
    tracer("interval", "tune", "--p95", "5", "--apply", code=3)
    assert tracer.err == "No Prefect server answers.\n"
    assert world.operator.polling() | {"now": None} == before | {"now": None}


def test_without_prefect_the_schedule_is_left(tracer: Terminal, world: World) -> None:
    lived(world, 30)
    shown = tracer("interval", "tune", "--p95", "5", "--apply")
    assert "the schedule stays as it is: No Prefect server answers" in " ".join(shown.split())
    assert tracer.err == "Set.\n"
    polling = world.operator.polling()
    assert [polling[name] for name in ("poll_s", "idle_s", "every_s")] == [5, 5, 120]


def test_a_target_below_the_overhead_is_met_by_none(tracer: Terminal, world: World) -> None:
    lived(world, 400)
    before = world.operator.polling()
    found = tracer.json("interval", "tune", "--p95", "0.4", "--apply", code=1)
    assert (found["chosen"], found["applied"]) == (None, False)
    said = " ".join(tracer.err.split())
    assert "No interval meets a p95 of 0.4 s" in said
    assert "The overhead alone is 0.479 s" in said
    assert "the start of the calls" in said
    assert world.operator.polling() | {"now": None} == before | {"now": None}
    world.sql(
        "INSERT INTO ticks (at, duration_ms, retried, failed, advanced, claimed, spawned, released,"
        " unknown, finished) VALUES (now(), 400, 0, 0, 0, 1, 1, 0, 0, 0)"
    )
    tracer("interval", "tune", "--p95", "0.4", code=1)
    said = " ".join(tracer.err.split())
    assert "with the shortest, 0.1 s, it is 0.57" in said
    assert "the tick itself" in said


def test_without_rows_it_says_to_run_a_batch_first(tracer: Terminal, world: World) -> None:
    assert tracer("interval", "tune", code=1) == ""
    assert "Seed a batch first: run `tracer seed FILE --blueprint a,b`" in " ".join(
        tracer.err.split()
    )
    lived(world, 9)
    tracer("interval", "tune", code=1)
    assert "18 rows of the sample began in the last hour" in " ".join(tracer.err.split())


@pytest.mark.parametrize(
    ("overhead_p95_s", "target_s", "poll_s"),
    [(0.0, 0.95, 1.0), (0.2, 2.0, 1.5), (0.1, 0.1, None), (9.0, 1000.0, 60.0)],
)
def test_the_longest_interval_that_meets_the_target_is_chosen(
    overhead_p95_s: float, target_s: float, poll_s: float | None
) -> None:
    assert longest_poll_s(overhead_p95_s, target_s) == poll_s
    meeting = [one for one in POLLS_S if latency_s(overhead_p95_s, one) <= target_s]
    assert meeting == [one for one in POLLS_S if one <= (poll_s or 0)]


@pytest.mark.parametrize("target_s", [1.0, 2.0, 5.0, 30.0])
def test_the_chosen_interval_meets_the_target_when_it_is_simulated(target_s: float) -> None:
    """Rows become ready at any moment between ticks, and some overheads are seconds."""
    random = Random(7)
    overheads = sorted(random.lognormvariate(-2, 0.9) for _ in range(400))
    poll_s = longest_poll_s(overheads[int(0.95 * len(overheads))], target_s)
    assert poll_s is not None
    took = (
        poll_s - random.uniform(0, 3600) % poll_s + random.choice(overheads) for _ in range(20_000)
    )
    assert sorted(took)[19_000] <= target_s


@pytest.mark.parametrize("given", ["0", "-1", "soon"])
def test_a_target_is_a_duration(tracer: Terminal, given: str) -> None:
    tracer("interval", "tune", "--p95", given, code=2)


def test_the_operator_s_role_may_tune(
    tracer: Terminal, world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(world, 30)
    monkeypatch.setenv("DATABASE_URL", as_role(granted(url), OPERATOR))
    tracer("interval", "tune", "--p95", "3", "--apply")
    assert world.operator.polling()["latency_target_s"] == 3
