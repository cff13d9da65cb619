"""What is seen of a batch: failures by kind, what is slow, what ticked; and at what cost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from reconciler.contract.results import Company
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import steering, views
from reconciler.operator.failures import kind
from reconciler.spawners.protocol import Refused, Unknown
from tests.world import World, doing
from workers.kit import PermanentError
from workers.steps.normalize import Normalized


def progress(world: World, name: str = "batch") -> dict[str, Any]:
    return views.progress(world.operator, world.operator.batch(name))


def fail(world: World, *messages: str) -> None:
    """Company by company, an attempt fails for good with the next of the messages."""
    said = iter(messages)

    def function(_: Company) -> Normalized:
        raise PermanentError(next(said))

    world.claimed(len(messages))
    world.work(doing(function))


def test_what_found_nothing_or_was_skipped_is_no_failure(world: World) -> None:
    world.claimed(3)
    ends = (Status.NOT_FOUND, Status.SKIPPED, Status.FAILED)
    attempts = world.worker.begin("normalize", world.ids())
    world.worker.fail(attempts, [Failure(f"it is {status}", status) for status in ends])
    found = progress(world)
    assert [(kind["error"], kind["count"]) for kind in found["failures"]] == [("it is FAILED", 1)]
    assert found["failures_left_out"]["kinds"] == 0


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("HTTP 503 from 10.0.0.1:8080", "HTTP # from #"),
        ("at 2026-11-26T02:31:05.123Z, 2026-11-26 02:31, 2026-11-26 02:31:05.1+00", "at #, #, #"),
        ("start `tracer up` for ‘acme’", "start `tracer up` for …"),  # noqa: RUF001
        ("no row 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "no row #"),
        ("call fc-01hzy deadbeef0042 0xdeadbeef1", "call fc-#hzy # #"),
        ("KeyError: 'acme' of \"x y\"", "KeyError: … of …"),
        ("it doesn't answer, isn't it", "it doesn't answer, isn't it"),
        ("two\n  lines", "two lines"),
        ("effaced facade", "effaced facade"),
        ("took 1,234.5 ms", "took # ms"),
    ],
)
def test_messages_that_differ_in_ids_alone_are_of_one_kind(message: str, told: str) -> None:
    assert kind(message) == told


def test_failures_are_counted_by_kind_of_message(world: World) -> None:
    fail(world, "no 'acme' at 12:00", "no 'other' at 13:30", "gone", "gone")
    first, second = progress(world)["failures"]
    assert (first["error"], first["count"], first["varies"]) == ("PermanentError: gone", 2, False)
    assert (second["error"], second["count"]) == ("PermanentError: no … at #", 2)
    assert (second["failed"], second["varies"]) == (2, True)
    assert second["example"].startswith("PermanentError: no '")


def test_a_companys_own_name_makes_no_kind_of_message(world: World) -> None:
    def function(company: Company) -> Normalized:
        raise PermanentError(f"no record of {company.name}")

    world.claimed(2)
    world.sql("UPDATE companies SET name = CASE key WHEN 'company-0' THEN 'Acme' ELSE 'Zenith' END")
    world.work(doing(function))
    (found,) = progress(world)["failures"]
    assert (found["error"], found["count"]) == ("PermanentError: no record of …", 2)


def test_of_more_messages_than_are_read_the_rows_are_still_all_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(world, *(f"request {n:032x} timed out" for n in range(30)))
    monkeypatch.setattr("reconciler.operator.views.MOST_TEXTS", 7)
    (group,) = progress(world)["failures"]
    assert group["error"] == "PermanentError: request # timed out"
    assert (group["count"], group["failed"], group["estimated"]) == (30, 30, True)


def test_kinds_that_are_left_out_are_counted(world: World) -> None:
    fail(world, "gone", "gone", "other", "third")
    found = views.progress(world.operator, world.operator.batch("batch"), failures=1)
    assert [group["count"] for group in found["failures"]] == [2]
    sums = {"kinds": 2, "count": 2, "failed": 2, "estimated": False}
    assert found["failures_left_out"] == sums
    later = views.progress(world.operator, world.operator.batch("batch"), before=found)
    assert later["failures_left_out"] == sums
    assert progress(world)["failures_left_out"]["kinds"] == 0


def test_what_will_be_tried_again_is_told_from_what_failed(world: World) -> None:
    world.claimed(2)
    first, _ = world.ids()

    def function(company: Company) -> Normalized:
        raise PermanentError("gone") if company.id == first else ValueError("gone")

    world.work(doing(function))
    world.tick()
    groups = {g["error"]: g for g in progress(world)["failures"]}
    assert sum(group["failed"] for group in groups.values()) == 1
    assert sum(group["count"] for group in groups.values()) == 2
    assert [group["available_at"] for group in groups.values() if group["count"] > group["failed"]]


@pytest.mark.parametrize("outcome", [Refused("no host"), Unknown("no answer")])
def test_what_was_not_spawned_is_no_failure(world: World, outcome: Refused | Unknown) -> None:
    world.seed(3)
    world.spawner.answer = outcome
    world.tick()
    found = progress(world)
    assert found["failures"] == []
    (note,) = found["waiting"]
    assert note["count"] == 3
    refused = isinstance(outcome, Refused)
    assert note["error_kind"] == ("spawn_refused" if refused else "spawn_unknown")


def test_the_slowest_in_flight_come_first(world: World) -> None:
    world.claimed(8)
    world.worker.begin("normalize", world.ids(), "call-1")
    world.sql("UPDATE workflow_states SET started_at = now() - company_id * interval '1 minute'")
    slowest = progress(world)["slowest"]
    assert [row["company"] for row in slowest] == [f"company-{n}" for n in (7, 6, 5, 4, 3)]
    assert slowest[0]["seconds"] == pytest.approx(8 * 60, abs=30)
    assert (slowest[0]["call_id"], slowest[0]["status"]) == ("call-1", "IN_PROGRESS")


def test_an_attempt_that_has_failed_is_over_before_the_tick_that_decides(world: World) -> None:
    world.claimed(2)
    first, second = world.ids()

    def function(_: Company) -> Normalized:
        raise ValueError("busy")

    world.worker.begin("normalize", [second], "call-1")
    world.work(doing(function), ids=[first])
    over = {row["company"]: row["over"] for row in progress(world)["slowest"]}
    assert over == {"company-0": True, "company-1": False}


def test_the_last_ticks_are_told(world: World) -> None:
    world.seed(3)
    now = world.store.now()
    for n in range(5):
        world.tick(now + timedelta(seconds=n))
    (tick,) = progress(world)["ticks"]  # the others did nothing
    assert (tick["claimed"], tick["at"]) == (3, now)


def test_a_paused_batch_has_no_eta(world: World) -> None:
    world.claimed(3)
    steering.pause(world.operator, world.operator.batch("batch"))
    assert (progress(world)["paused"], progress(world)["eta_s"]) == (True, None)


def test_while_polling_is_paused_there_is_no_eta(world: World) -> None:
    world.claimed(100)
    world.sql(
        "INSERT INTO progress SELECT 1, 0, now() - n * interval '1 second', 0, 10"
        " FROM generate_series(1, 5) n"
    )
    assert (progress(world)["polling_paused"], progress(world)["eta_s"] is None) == (False, False)
    world.operator.set_polling(paused=True)
    assert (progress(world)["polling_paused"], progress(world)["eta_s"]) == (True, None)


def test_the_rate_of_a_batch_that_has_ended_leaves_waits_and_pauses_out(world: World) -> None:
    world.claimed(100)
    world.work()
    world.tick()
    world.sql("DELETE FROM progress WHERE completed > 0")
    world.sql(
        "INSERT INTO progress SELECT 1, 0, finished_at - n * interval '1 second', 0, 10"
        " FROM batches, unnest(ARRAY[0, 1, 2, 3, 4, 905, 906, 907, 908, 909]) n"
    )
    world.sql("UPDATE batches SET created_at = created_at - interval '1 day'")
    assert progress(world)["rate_per_s"] == pytest.approx(10, rel=0.01)
    assert progress(world)["rate_over_s"] == pytest.approx(10, rel=0.01)


def test_a_look_reads_no_table(world: World) -> None:
    """Also by statistics from before the batch began."""
    world.seed(5000)
    world.sql("ANALYZE")
    world.sql("ALTER TABLE workflow_states SET (autovacuum_enabled = false)")
    world.tick()
    world.work(ids=world.ids()[:200])
    world.tick()
    batch = world.operator.batch("batch")
    for view in (
        lambda: views.progress(world.operator, batch),
        lambda: views.timeline(world.operator, None, "company-7"),
        lambda: views.batches(world.operator),
    ):
        assert scans(world, view) == 0
    every = "SELECT count(*) FROM workflow_states WHERE attempt > 9"
    assert scans(world, lambda: world.sql(every)) == 1


def scans(world: World, view: Callable[[], object]) -> int:
    """How often the view reads all of `workflow_states`."""
    read = "SELECT sum(seq_scan) AS n FROM pg_stat_user_tables WHERE relname = 'workflow_states'"
    flushed = "SELECT pg_stat_force_next_flush()"

    def seen() -> int:
        world.sql(flushed)
        return int(world.sql(read)[0]["n"])

    with world.operator.transaction():  # so that the one other connection is taken by all
        before = seen()
        view()
        return seen() - before
