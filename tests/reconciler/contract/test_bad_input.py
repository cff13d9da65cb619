"""What is wrong in the registry, a blueprint or a step stops that, with a reason, and no tick."""

import json
import math
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.contract.results import Company
from reconciler.operator import views
from reconciler.operator.diagnosis.explain import explain, read_row
from tests.terminal import Terminal
from tests.world import World, doing
from workers.kit import RetryAfter, step
from workers.runtime.outcome import LONGEST_WAIT_S, waitable
from workers.steps.normalize import Normalized

MARKUP = "[red]boo[/red] [/] \x1b[31m '; DROP TABLE companies; --"
FIXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def reason(world: World, batch: str, key: str = "company-0") -> str:
    return explain(read_row(world.operator, world.operator.batch(batch), key)).says


@pytest.mark.parametrize(
    "blueprint",
    [
        *("[]", "{}", "null", '"normalize"', "[null]", '[["normalize"]]', '["normalize", 1]'),
        *('[""]', '["normalize", "normalize"]', '["normalize", "step_a", "normalize"]'),
    ],
)
def test_a_blueprint_that_is_none_is_refused_by_the_database(world: World, blueprint: str) -> None:
    world.seed(1)
    with pytest.raises(psycopg.errors.CheckViolation):
        world.sql("UPDATE batches SET blueprint = %(value)s::jsonb", value=blueprint)
    assert world.tick().claimed == 1


@FIXED
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1)
)
def test_every_list_of_different_names_is_a_blueprint(world: World, names: list[str]) -> None:
    told = world.sql("SELECT is_blueprint(%(it)s::jsonb) AS so", it=json.dumps(names))[0]["so"]
    assert told == (len(set(names)) == len(names))


def test_a_step_that_nobody_knows_stops_its_own_batch_and_says_so(world: World) -> None:
    world.seed(2, name="bad")
    world.seed(["other"], name="good")
    world.sql("""UPDATE batches SET blueprint = '["normalize", "enrich"]' WHERE name = 'bad'""")
    for _ in range(3):
        world.tick()
        world.work()
    assert world.operator.batch("good").status == "FINISHED"
    assert world.operator.batch("bad").status == "RUNNING"
    assert reason(world, "bad") == "The step enrich is not registered"
    assert views.progress(world.operator, world.operator.batch("bad"))["steps"][1]["PENDING"] == 2


def test_a_blueprint_of_ten_thousand_steps_is_gone_through_like_any_other(world: World) -> None:
    world.seed(3, name="long")
    names = ["normalize", *(f"unknown_{number}" for number in range(10_000))]
    world.sql("UPDATE batches SET blueprint = %(names)s::jsonb", names=json.dumps(names))
    world.tick()
    world.work()
    assert world.tick().advanced == 3
    assert reason(world, "long") == "The step unknown_0 is not registered"


def test_a_blueprint_that_was_cut_short_ends_where_it_ends(world: World) -> None:
    world.seed(1, ["normalize", "step_a"])
    world.tick()
    world.work()
    world.tick()
    world.sql("""UPDATE batches SET blueprint = '["normalize"]'""")
    world.work("step_a")
    world.tick()
    assert world.operator.batch("batch").status == "FINISHED"


@FIXED
@given(
    st.sampled_from(["lease_s", "start_deadline_s", "backoff_s", "backoff_max_s"]),
    st.one_of(st.floats(), st.integers(-(2**70), 2**70)),
)
def test_no_duration_in_the_registry_ends_a_tick(world: World, column: str, value: float) -> None:
    world.sql("DELETE FROM batches")
    world.sql("UPDATE enrichment_registry SET backoff_s = 5, backoff_max_s = 600")
    with suppress(BadInput):  # then nothing has changed
        world.operator.set_step("normalize", {column: value})
    world.seed(1)
    assert world.tick().claimed == 1
    assert world.worker.begin("normalize", world.ids())
    world.sql("UPDATE workflow_states SET lease_expires_at = now()")
    assert world.tick().retried == 1
    world.operator.set_step("normalize", {"lease_s": 60, "start_deadline_s": 300})


@FIXED
@given(st.floats(), st.floats())
def test_no_interval_ends_the_loop(world: World, poll_s: float, idle_s: float) -> None:
    try:
        world.operator.set_polling(poll_s=poll_s, idle_s=idle_s)
    except BadInput:
        return
    polling = world.store.beat()
    assert 0 < polling.poll_s <= polling.idle_s < math.inf


@FIXED
@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.lists(st.integers())))
def test_whatever_a_step_asks_to_wait_is_a_wait(seconds: object) -> None:
    assert 0 <= waitable(seconds) <= LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(math.inf, "FAILED"), (math.nan, "PENDING"), (-5, "PENDING"), (1e300, "FAILED")],
)
def test_a_retry_after_that_makes_no_sense_is_still_a_failure(
    world: World, seconds: float, status: str
) -> None:
    """None waits for a year: that is longer than `give_up_after_s`."""
    world.claimed(1)

    def function(_: Company) -> Normalized:
        raise RetryAfter(seconds)

    assert world.work(doing(function)).failed == 1
    world.tick()
    assert world.statuses() == {status: 1}


class Evil(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def misbehaviours() -> dict[str, Callable[[Company], object]]:
    def evil(_: Company) -> object:
        raise Evil

    def ending(_: Company) -> object:
        raise SystemExit(MARKUP)

    return {
        "an error that cannot be printed": evil,
        "an exit": ending,
        "a class": lambda _: Normalized,
        "nothing": lambda _: None,
        "markup": lambda _: Normalized(short_name=MARKUP),
        "ten megabytes": lambda _: Normalized(short_name="x" * 10_000_000),
        "NUL": lambda _: Normalized(short_name="\0"),
        "half a surrogate": lambda _: Normalized(short_name="\udc80"),
        "a generator": lambda company: (company for _ in range(3)),
    }


@pytest.mark.parametrize("function", misbehaviours().values(), ids=misbehaviours().keys())
def test_whatever_a_step_does_its_neighbours_land(
    world: World, function: Callable[[Company], object]
) -> None:
    world.claimed(3)
    bad = world.ids()[1]
    report = world.work(doing(lambda c: function(c) if c.id == bad else Normalized()))
    assert report.begun == report.completed + report.failed == 3
    assert report.completed >= 2
    assert len(world.sql("SELECT * FROM results.normalized")) == report.completed
    world.tick()
    assert "IN_PROGRESS" not in world.statuses()


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf, 86_401])
def test_a_time_out_that_is_none_is_refused_where_it_is_written(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s is between"):
        step(timeout_s=timeout_s)


def test_what_is_displayed_obeys_no_markup_and_steers_no_terminal(
    tracer: Terminal, world: World
) -> None:
    key = "[bold]key[/bold]\x07"
    world.seed([key], name=MARKUP)
    world.tick()

    def function(_: Company) -> Normalized:
        raise ValueError(MARKUP)

    world.work(doing(function))
    world.tick()
    for words in (["batches"], ["inspect", MARKUP], ["inspect", MARKUP, "--company", key]):
        shown = tracer(*words)
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert "[red]boo[/red]" in tracer("batches").replace("\n", "")
    assert "[red]boo" in tracer("explain", MARKUP, key)
    assert world.sql("SELECT count(*) FROM companies") == [{"count": 1}]
