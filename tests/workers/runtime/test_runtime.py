"""A worker's call: chunks land whole, one bad company fails alone, stale attempts write nothing."""

import math
import random
import string
from contextlib import closing
from itertools import count
from queue import SimpleQueue
from threading import Event
from typing import Any

import psycopg
import pytest

from reconciler.contract import secrets
from reconciler.contract.results import Company
from reconciler.contract.secrets import remember
from reconciler.contract.states import Status
from tests.world import World, doing, wait_until
from workers.kit import PermanentError, RetryAfter, Step
from workers.runtime import patience
from workers.runtime.calls import Call, WorkReport
from workers.runtime.runtime import Runtime
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA


def raising(error: BaseException) -> Step:
    def function(_: Company) -> Normalized:
        raise error

    return doing(function)


def only_row(world: World) -> dict[str, object]:
    (row,) = world.rows()
    return row


def test_a_chunk_is_worked_and_every_green_row_has_its_domain_row(world: World) -> None:
    world.claimed()
    assert world.work() == WorkReport(begun=3, completed=3)
    assert world.statuses() == {"COMPLETED": 3}
    found = world.sql("SELECT * FROM results.normalized ORDER BY company_id")
    assert [(r["domain"], r["short_name"], r["legal_form"]) for r in found] == [
        ("example.com", f"company-{i}", "Inc.") for i in range(3)
    ]


def test_a_call_that_arrives_twice_works_once(world: World) -> None:
    world.claimed()
    world.work()
    assert world.work() == WorkReport()
    assert {row["attempt"] for row in world.rows()} == {1}


def test_a_call_for_what_was_never_claimed_does_nothing(world: World) -> None:
    world.seed(2)
    assert world.work() == WorkReport()
    assert world.statuses() == {"PENDING": 2}


def test_a_company_that_fails_does_so_alone(world: World) -> None:
    world.claimed()
    bad = world.ids()[1]

    def function(company: Company) -> Normalized:
        return Normalized(short_name=str(1 // (company.id - bad)))

    assert world.work(doing(function)) == WorkReport(begun=3, completed=2, failed=1)
    (row,) = world.rows("error IS NOT NULL")
    assert row["error"] == "ZeroDivisionError: integer division or modulo by zero"
    assert row["status"] == Status.IN_PROGRESS
    assert world.tick().retried == 1
    assert world.statuses() == {"COMPLETED": 2, "PENDING": 1}


def test_a_result_that_its_table_refuses_fails_alone_and_at_once(world: World) -> None:
    world.seed(3, ["step_a"])
    world.tick()
    values = dict(zip(world.ids(), (7, 2**70, 8), strict=True))

    def function(company: Company) -> StepA:
        return StepA(attribute_count=values[company.id])

    report = world.work(doing(function, "step_a"))
    assert report == WorkReport(begun=3, completed=2, failed=1)
    assert [r["attribute_count"] for r in world.sql("SELECT * FROM results.step_a")] == [7, 8]
    (row,) = world.rows("error IS NOT NULL")
    assert (row["status"], row["attempt"], row["error_kind"]) == ("FAILED", 1, "not_written")
    assert row["error"].startswith("result not written: ")
    assert f"(attribute_count={2**70})" in row["error"]


REFUSED: list[tuple[str, Any, str]] = [
    ("ALTER COLUMN short_name TYPE varchar(3)", "a b c d", "value too long"),
    ("ADD CHECK (short_name <> 'x')", "x", "violates check constraint"),
    ("ADD UNIQUE (short_name)", "a" * 3 + "\0", "unsupported Unicode escape sequence"),
    ("ALTER COLUMN short_name SET NOT NULL", None, "violates not-null constraint"),
]


@pytest.mark.parametrize(("change", "value", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_what_no_second_attempt_would_write_is_paid_for_once(
    world: World, change: str, value: Any, says: str
) -> None:
    world.sql(f"ALTER TABLE results.normalized {change}")
    world.claimed(2)

    def function(company: Company) -> Normalized:
        return Normalized(short_name=value if company.key == "company-1" else "ok")

    assert world.work(doing(function)) == WorkReport(begun=2, completed=1, failed=1)
    assert world.tick().retried == 0
    (row,) = world.rows("error IS NOT NULL")
    assert (row["status"], row["error_kind"]) == ("FAILED", "not_written")
    assert says in row["error"]
    assert f"short_name={value!r}" in row["error"]


def test_the_values_in_an_error_are_short_and_have_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_read", set())
    remember("k-1234567")
    world.claimed(1)
    text = "\0" + "k-1234567" * 30
    assert world.work(doing(lambda _: Normalized(short_name=text))).failed == 1
    error = str(only_row(world)["error"])
    assert "1234567" not in error
    assert len(error) < 300


@pytest.mark.parametrize("value", [math.nan, "many", None, [1]])
def test_a_field_of_another_type_is_a_failure_that_names_it(world: World, value: Any) -> None:
    world.seed(2, ["step_a"])
    world.tick()

    def function(company: Company) -> StepA:
        if company.key == "company-1":
            return StepA(attribute_count=value)
        result = StepA(attribute_count=0)
        result.attribute_count = value
        return result

    assert world.work(doing(function, "step_a")).failed == 2
    for row in world.rows():
        assert row["status"] == "FAILED"
        assert str(row["error"]).startswith("StepA does not fit: attribute_count: ")
        assert f"(it is {value!r})" in str(row["error"])


def test_a_value_too_large_for_an_index_is_no_outage(world: World) -> None:
    world.sql("CREATE INDEX ON results.normalized (short_name)")
    world.claimed(3)
    large = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=50_000))

    def function(company: Company) -> Normalized:
        return Normalized(short_name=large if company.key == "company-1" else "Acme")

    assert world.work(doing(function)) == WorkReport(begun=3, completed=2, failed=1)
    (row,) = world.rows("error IS NOT NULL")
    assert (row["status"], row["error_kind"]) == ("FAILED", "not_written")
    assert len(row["error"]) < 500


def test_a_wait_that_is_no_float_costs_no_other_company(world: World) -> None:
    world.claimed(2)

    def function(company: Company) -> Normalized:
        if company.key == "company-0":
            raise RetryAfter(10**400)
        return Normalized()

    assert world.work(doing(function)) == WorkReport(begun=2, completed=1, failed=1)


def test_a_field_that_the_table_does_not_have_is_a_failure_that_names_it(world: World) -> None:
    world.seed(1, ["step_a"])
    world.tick()
    misspelt: dict[str, Any] = {"atribute_count": 1}
    assert world.work(doing(lambda _: StepA(**misspelt), "step_a")).failed == 1
    error = str(only_row(world)["error"])
    assert "attribute_count: Field required" in error
    assert "atribute_count: Extra inputs are not permitted" in error


@pytest.mark.parametrize("value", ["with NUL \x00", "lone surrogate \ud800"])
def test_text_that_postgres_cannot_hold_is_a_failure_and_not_a_crash(
    world: World, value: str
) -> None:
    world.claimed(1)
    assert world.work(doing(lambda _: Normalized(short_name=value))).failed == 1
    assert world.work(raising(ValueError(value))).begun == 0


@pytest.mark.parametrize("value", ["with NUL \x00", "lone surrogate \ud800"])
def test_an_error_with_such_text_is_kept_readable(world: World, value: str) -> None:
    world.claimed(1)
    assert world.work(raising(ValueError(value))).failed == 1
    assert str(only_row(world)["error"]).startswith("ValueError: ")


def test_a_permanent_error_fails_at_once(world: World) -> None:
    world.claimed(1)
    world.work(raising(PermanentError("no such company")))
    row = only_row(world)
    assert (row["status"], row["error"]) == ("FAILED", "PermanentError: no such company")


def test_what_is_not_the_steps_table_fails_at_once(world: World) -> None:
    world.claimed(1)
    world.work(doing(lambda _: {"domain": "x.com"}))
    row = only_row(world)
    assert (row["status"], row["error"]) == ("FAILED", "returned dict instead of Normalized")


def test_a_retry_after_outlasts_the_backoff(world: World) -> None:
    world.claimed(1)
    before = world.store.now()
    world.work(raising(RetryAfter(3600)))
    world.tick()
    row = only_row(world)
    assert row["status"] == "PENDING"
    assert 3600 <= (row["available_at"] - before).total_seconds() < 3610


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), RecursionError("deep")])
def test_whatever_a_step_raises_stays_its_own(world: World, error: BaseException) -> None:
    world.claimed(1)
    assert world.work(raising(error)).failed == 1
    assert str(only_row(world)["error"]).startswith(type(error).__name__)


@pytest.mark.parametrize("slow", [1, 2])
def test_a_result_is_written_while_the_next_call_goes_on(world: World, slow: int) -> None:
    """Also when it came so soon after the last writing that it waits for company."""
    world.claimed(3)
    called = count(1)

    def function(_: Company) -> Normalized:
        number = next(called)
        if number > slow:
            wait_until(lambda: world.statuses().get("COMPLETED") == number - 1)
        return Normalized()

    assert world.work(doing(function)).completed == 3


def test_results_survive_a_database_that_is_away_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claimed(2)
    monkeypatch.setattr(patience, "RETRY_S", 0.01)
    ended = Event()

    def cut_off(_: Company) -> Normalized:
        if not ended.is_set():
            ended.set()
            world.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return Normalized()

    assert world.work(doing(cut_off)) == WorkReport(begun=2, completed=2)


def test_a_stopped_worker_writes_what_is_done_and_releases_the_rest(world: World) -> None:
    world.claimed(3)
    calls: SimpleQueue[Call] = SimpleQueue()

    def function(_: Company) -> Normalized:
        runtime.stop(calls.get(), 30)
        return Normalized()

    with closing(Runtime(world.worker)) as runtime:
        call = runtime.submit(doing(function, concurrency=1), world.ids())
        calls.put(call)
        assert call.done.result() == WorkReport(begun=3, completed=1)
    assert world.statuses() == {"COMPLETED": 1, "PENDING": 2}
    rows = world.rows("status = 'PENDING'")
    assert {(row["attempt"], row["forgiven"]) for row in rows} == {(1, 1)}


def test_the_domain_row_of_a_second_batch_replaces_the_first(world: World) -> None:
    for name in ("first", "second"):
        world.seed(1, name=name)
        world.tick()
        world.work(doing(lambda _, name=name: Normalized(short_name=name)))
    assert [r["short_name"] for r in world.sql("SELECT * FROM results.normalized")] == ["second"]


def test_green_cannot_be_had_without_the_domain_row(world: World) -> None:
    """The domain table is locked away: the transaction that would turn the row green fails."""
    world.claimed(1)
    (attempt,) = world.worker.begin("normalize", world.ids())
    world.sql("ALTER TABLE results.normalized ADD CONSTRAINT never CHECK (company_id < 0)")
    with pytest.raises(psycopg.errors.CheckViolation):
        world.worker.complete([attempt], [Normalized()])
    assert world.statuses() == {"IN_PROGRESS": 1}


def test_a_call_that_is_stopped_before_it_begins_begins_nothing(world: World) -> None:
    """Its step is busy with an earlier one."""
    world.claimed(3)
    first, second, third = world.ids()
    called, go_on = Event(), Event()

    def function(_: Company) -> Normalized:
        called.set()
        go_on.wait(10)
        return Normalized()

    step = doing(function, concurrency=1)
    with closing(Runtime(world.worker)) as runtime:
        busy = runtime.submit(step, [first])
        called.wait(10)
        call = runtime.submit(step, [second, third])
        runtime.stop(call, 30)
        assert call.done.result() == WorkReport()
        go_on.set()
        assert busy.done.result() == WorkReport(begun=1, completed=1)
    assert world.statuses() == {"COMPLETED": 1, "PENDING": 2}
    assert {row["attempt"] for row in world.rows("status = 'PENDING'")} == {0}
