"""What a step may be: a coroutine, a function on threads, one that computes, one for many; and what
it is given."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from threading import Event
from typing import Any

import aiohttp
import pytest

from reconciler.contract import secrets
from reconciler.contract.errors import NotAllowed
from reconciler.contract.results import Company
from reconciler.contract.secrets import Masking
from tests.world import World, doing
from workers import resources
from workers.kit import NotFound, Step, resource, step
from workers.resources import OPENERS
from workers.runtime import loop_lane
from workers.runtime.calls import WorkReport
from workers.runtime.runtime import Runtime
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA


def made(function: Callable[..., Any], **options: Any) -> Step:
    """A step of that function, in the place of the bundled one that has its table."""
    function.__name__ = {Normalized: "normalize", StepA: "step_a"}[options.pop("table", Normalized)]
    marked: Any = step(**options)(function)
    return marked.tracer_step


def texts(world: World) -> dict[str, tuple[str, str | None]]:
    """By company, the status and the text of its only row."""
    found = world.sql(
        "SELECT key, status, error FROM workflow_states JOIN companies ON id = company_id"
    )
    return {row["key"]: (row["status"], row["error"]) for row in found}


def test_coroutines_are_worked_at_once_up_to_the_concurrency(world: World) -> None:
    world.claimed(40)
    now, most, full = 0, 0, asyncio.Event()

    async def function(_: Company) -> Normalized:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        if now == 20:
            full.set()
        await asyncio.wait_for(full.wait(), 10)
        await asyncio.sleep(0.01)
        now -= 1
        return Normalized()

    assert world.work(made(function, concurrency=20)) == WorkReport(begun=40, completed=40)
    assert most == 20


def test_calls_are_worked_side_by_side(world: World) -> None:
    world.claimed(3)
    all_there = threading.Barrier(3)

    def function(_: Company) -> Normalized:
        all_there.wait(10)
        return Normalized()

    with closing(Runtime(world.worker)) as runtime:
        calls = [runtime.submit(doing(function), [i]) for i in world.ids()]
        assert [call.done.result().completed for call in calls] == [1, 1, 1]


def test_a_call_that_would_pass_the_concurrency_is_not_begun(world: World) -> None:
    world.claimed(4)
    called, go_on = Event(), Event()

    async def function(_: Company) -> Normalized:
        called.set()
        await asyncio.to_thread(go_on.wait, 10)
        return Normalized()

    with closing(Runtime(world.worker)) as runtime:
        one, *others = world.ids()
        calls = [runtime.submit(made(function, concurrency=1), ids) for ids in ([one], others)]
        called.wait(10)
        time.sleep(0.05)  # in which the others could have been begun
        assert world.statuses() == {"IN_PROGRESS": 1, "QUEUED": 3}
        go_on.set()
        assert [call.done.result().completed for call in calls] == [1, 3]


def test_a_time_out_cancels_a_coroutine(world: World) -> None:
    world.claimed(2)
    ended = list[str]()

    async def function(company: Company) -> Normalized:
        try:
            await asyncio.sleep(60 if company.key == "company-0" else 0)
        finally:
            ended.append(company.key)
        return Normalized()

    report = world.work(made(function, timeout_s=0.1))
    assert report == WorkReport(begun=2, completed=1, failed=1)
    assert ended == ["company-1", "company-0"]
    assert texts(world)["company-0"] == ("IN_PROGRESS", "took longer than 0.1 s")
    assert [row["error_kind"] for row in world.rows("error IS NOT NULL")] == ["timed_out"]


def test_a_time_out_of_the_steps_own_is_its_own_error(world: World) -> None:
    world.claimed(1)

    async def function(_: Company) -> Normalized:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
        return Normalized()

    assert world.work(made(function)).failed == 1
    assert texts(world)["company-0"] == ("IN_PROGRESS", "TimeoutError: ")


def test_a_coroutine_that_goes_on_after_it_was_cancelled_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_lane, "GRACE_S", 0.2)
    world.claimed(2)
    over = asyncio.Event()

    async def function(company: Company) -> Normalized:
        while company.key == "company-0" and not over.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(over.wait(), 60)
        return Normalized()

    with closing(Runtime(world.worker)) as runtime:
        call = runtime.submit(made(function, timeout_s=0.1, concurrency=1), world.ids())
        expected = WorkReport(begun=2, completed=1, failed=1, left_behind=1)
        assert call.done.result(10) == expected
        runtime._loop.call_soon_threadsafe(over.set)
    assert texts(world)["company-0"] == ("IN_PROGRESS", "took longer than 0.1 s")


@pytest.mark.parametrize("concurrency", [1, 8])
def test_functions_that_wait_have_threads_up_to_the_concurrency(
    world: World, concurrency: int
) -> None:
    world.claimed(16)
    turn, now, most = threading.Lock(), 0, 0

    def function(_: Company) -> Normalized:
        nonlocal now, most
        with turn:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.2 if concurrency > 1 else 0.01)
        with turn:
            now -= 1
        return Normalized()

    assert world.work(doing(function, concurrency=concurrency)).completed == 16
    assert most == concurrency


def test_functions_that_return_at_once_stay_on_one_thread(world: World) -> None:
    world.claimed(100)
    threads = set[int]()

    def function(_: Company) -> Normalized:
        threads.add(threading.get_ident())
        return Normalized()

    assert world.work(doing(function)).completed == 100
    assert len(threads) == 1


def test_of_steps_that_compute_one_call_runs_at_a_time(world: World) -> None:
    world.seed(5)
    world.seed([f"other-{i}" for i in range(5)], ["step_a"], name="other")
    world.tick()
    computing = threading.Lock()

    def alone() -> None:
        assert computing.acquire(blocking=False)
        time.sleep(0.002)
        computing.release()

    def normalize(_: Company) -> Normalized:
        alone()
        return Normalized()

    def step_a(_: Company) -> StepA:
        alone()
        return StepA(attribute_count=1)

    with closing(Runtime(world.worker)) as runtime:
        first = runtime.submit(made(normalize, cpu=True), world.ids())
        second = runtime.submit(made(step_a, cpu=True, table=StepA), world.ids())
        assert (first.done.result().completed, second.done.result().completed) == (5, 5)


def test_a_process_beats_once_for_all_its_calls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.operator.set_step("normalize", {"lease_s": 0.6})
    world.claimed(10)
    beats, heartbeat = list[int](), world.worker.heartbeat

    def noted(attempts: Any) -> Any:
        beats.append(len(attempts))
        return heartbeat(attempts)

    async def function(_: Company) -> Normalized:
        await asyncio.sleep(1)
        return Normalized()

    monkeypatch.setattr(world.worker, "heartbeat", noted)
    with closing(Runtime(world.worker)) as runtime:
        calls = [runtime.submit(made(function), [i]) for i in world.ids()]
        assert all(call.done.result().completed == 1 for call in calls)
    assert 3 <= len(beats) <= 6
    assert max(beats) == 10


def test_a_lease_is_not_renewed_for_a_function_that_blocks_the_event_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop cannot give it up: another worker shall have the row."""
    monkeypatch.setattr("workers.runtime.heart.GRACE_S", 0.1)
    world.operator.set_step("normalize", {"lease_s": 0.3, "backoff_s": 0})
    world.claimed(1)
    again = Event()

    async def function(_: Company) -> Normalized:
        again.wait(20)  # as time.sleep would
        return Normalized()

    with closing(Runtime(world.worker)) as runtime:
        call = runtime.submit(made(function, timeout_s=0.2), world.ids())
        deadline = time.monotonic() + 10
        while not world.tick().retried:
            assert time.monotonic() < deadline
        assert runtime.silent_s > 0
        again.set()
        assert call.done.result().stale == 1


def test_none_and_not_found_are_no_failures(world: World) -> None:
    world.seed(3, ["normalize", "step_a"])
    world.tick()

    async def function(company: Company) -> Normalized | None:
        if company.key == "company-0":
            return None
        if company.key == "company-1":
            raise NotFound("no such domain")
        return Normalized()

    assert world.work(made(function)) == WorkReport(begun=3, completed=1, failed=2)
    assert texts(world) == {
        "company-0": ("NOT_FOUND", None),
        "company-1": ("NOT_FOUND", "no such domain"),
        "company-2": ("COMPLETED", None),
    }
    world.tick()
    assert len(world.rows("step_name = 'step_a'")) == 3


# What a step takes of an earlier step.


def after_normalize(world: World, companies: int = 3) -> None:
    """A batch of which normalize is done, but for the first company, and step_a claimed."""
    world.seed(companies, ["normalize", "step_a"])
    world.tick()

    def function(company: Company) -> Normalized | None:
        return None if company.key == "company-0" else Normalized(short_name=company.name)

    world.work(made(function))
    world.tick()


def test_a_needed_input_is_there_or_the_row_is_skipped(world: World) -> None:
    after_normalize(world)

    async def function(company: Company, site: Normalized) -> StepA:
        assert site.short_name == company.name
        assert site.legal_form is None
        return StepA(attribute_count=len(site.short_name or ""))

    report = world.work(made(function, table=StepA))
    assert report == WorkReport(begun=3, completed=2, failed=1)
    (row,) = world.rows("status = 'SKIPPED'")
    assert (row["error"], row["error_kind"]) == (
        "there is no row of normalized, which it needs",
        "input_missing",
    )
    assert [r["attribute_count"] for r in world.sql("SELECT * FROM results.step_a")] == [14, 14]


def test_an_optional_input_is_none_where_there_is_no_result(world: World) -> None:
    after_normalize(world)

    def function(_: Company, site: Normalized | None) -> StepA:
        return StepA(attribute_count=0 if site is None else 1)

    assert world.work(made(function, table=StepA)).completed == 3
    found = world.sql("SELECT attribute_count FROM results.step_a ORDER BY company_id")
    assert [row["attribute_count"] for row in found] == [0, 1, 1]


def test_a_result_from_before_its_table_gained_a_column_still_loads(world: World) -> None:
    """Whatever the field's type says; and a column that the class does not have is left out."""
    world.seed(1, ["step_a", "normalize"])
    world.tick()
    world.work(doing(lambda _: StepA(attribute_count=1), "step_a"))
    world.sql("ALTER TABLE results.step_a ALTER attribute_count DROP NOT NULL")
    world.sql("UPDATE results.step_a SET attribute_count = NULL")
    world.sql("ALTER TABLE results.step_a ADD COLUMN of_tomorrow text DEFAULT 'x'")
    world.tick()

    def function(_: Company, a: StepA) -> Normalized:
        return Normalized(short_name=repr(a.attribute_count))

    assert world.work(made(function)).completed == 1
    assert world.sql("SELECT short_name FROM results.normalized") == [{"short_name": "None"}]


def test_input_that_does_not_fit_its_class_fails_once(world: World) -> None:
    world.seed(1, ["step_a", "normalize"])
    world.tick()
    world.work(doing(lambda _: StepA(attribute_count=1), "step_a"))
    world.sql("ALTER TABLE results.step_a ALTER attribute_count TYPE text")
    world.sql("UPDATE results.step_a SET attribute_count = 'many'")
    world.tick()

    def function(_: Company, a: StepA) -> Normalized:
        raise AssertionError(a)

    assert world.work(made(function)).failed == 1
    (row,) = world.rows("status = 'FAILED'")
    assert row["error"].startswith("its input cannot be read: StepARow does not fit: attribute_")


# Steps for many companies at once.


def test_a_bulk_step_gets_full_lists_and_each_company_has_its_own_end(world: World) -> None:
    world.claimed(7)
    sizes = list[int]()

    async def function(companies: list[Company]) -> dict[int, Normalized | Exception | None]:
        sizes.append(len(companies))
        found: dict[int, Any] = {c.id: Normalized(short_name=c.name) for c in companies}
        for company in companies:
            if company.key == "company-1":
                found[company.id] = None
            elif company.key == "company-2":
                found[company.id] = ValueError("no digits")
            elif company.key == "company-3":
                del found[company.id]
            elif company.key == "company-4":
                found[company.id] = "Acme"
        return found

    assert world.work(made(function, bulk=3)) == WorkReport(begun=7, completed=3, failed=4)
    assert sorted(sizes) == [1, 3, 3]
    assert texts(world) == {
        "company-0": ("COMPLETED", None),
        "company-1": ("NOT_FOUND", None),
        "company-2": ("IN_PROGRESS", "ValueError: no digits"),
        "company-3": ("NOT_FOUND", None),
        "company-4": ("FAILED", "returned str instead of Normalized"),
        "company-5": ("COMPLETED", None),
        "company-6": ("COMPLETED", None),
    }


def test_a_bulk_step_that_mistakes_the_ids_has_found_nothing_out(world: World) -> None:
    world.claimed(3)
    well = world.ids()[0]

    async def function(companies: list[Company]) -> dict[int, Normalized]:
        found: dict[Any, Normalized] = {str(c.id): Normalized() for c in companies}
        return found | {well: Normalized()}

    assert world.work(made(function, bulk=3)) == WorkReport(begun=3, completed=1, failed=2)
    says = {text for status, text in texts(world).values() if status == "FAILED"}
    assert len(says) == 1
    assert str(says.pop()).startswith(f"returned ids that it was not given: '{well}', ")


def test_a_heart_goes_on_after_any_error_of_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.operator.set_step("normalize", {"lease_s": 0.3})
    world.claimed(1)
    heartbeat, denied = world.worker.heartbeat, list[int]()

    def once(attempts: Any) -> Any:
        if not denied:
            denied.append(1)
            raise NotAllowed("The role may not do this.")
        return heartbeat(attempts)

    async def function(_: Company) -> Normalized:
        await asyncio.sleep(1)
        return Normalized()

    monkeypatch.setattr(world.worker, "heartbeat", once)
    assert world.work(made(function)) == WorkReport(begun=1, completed=1)
    assert denied


def test_a_bulk_call_that_fails_fails_for_each(world: World) -> None:
    world.claimed(2)

    def function(companies: list[Company]) -> dict[int, Normalized]:
        raise ConnectionError(f"of {len(companies)}")

    assert world.work(made(function, bulk=10)).failed == 2
    assert {text for _, text in texts(world).values()} == {"ConnectionError: of 2"}


def test_a_bulk_step_gets_inputs_by_company(world: World) -> None:
    after_normalize(world)

    def function(companies: list[Company], sites: dict[int, Normalized | None]) -> dict[int, StepA]:
        return {c.id: StepA(attribute_count=sites[c.id] is not None) for c in companies}

    assert world.work(made(function, bulk=10, table=StepA)).completed == 3
    found = world.sql("SELECT attribute_count FROM results.step_a ORDER BY company_id")
    assert [row["attribute_count"] for row in found] == [0, 1, 1]


def test_a_chunk_of_a_bulk_step_is_whole_calls() -> None:
    async def function(_: list[Company]) -> dict[int, Normalized]:
        return {}

    assert made(function, bulk=30).settings == {"chunk_size": 90}
    assert made(function, bulk=200).settings == {"chunk_size": 200}
    assert made(function, bulk=30, chunk_size=60).settings == {"chunk_size": 60}


# Resources.


class Gate:
    """A resource of the tests' own."""

    opened = closed = 0


@pytest.fixture
def gate() -> Iterator[type[Gate]]:
    Gate.opened = Gate.closed = 0

    @resource
    async def of_tests() -> AsyncIterator[Gate]:
        Gate.opened += 1
        await asyncio.sleep(0.01)
        yield Gate()
        Gate.closed += 1

    yield Gate
    del OPENERS[Gate]


def test_a_resource_is_opened_once_and_closed_with_the_process(
    world: World, gate: type[Gate]
) -> None:
    world.claimed(20)
    given = set[int]()

    async def function(_: Company, gate: Gate) -> Normalized:
        given.add(id(gate))
        return Normalized()

    assert world.work(made(function)).completed == 20
    assert (len(given), gate.opened, gate.closed) == (1, 1, 1)


def test_a_function_on_a_thread_gets_resources_too(world: World, gate: type[Gate]) -> None:
    world.claimed(5)

    def function(_: Company, gate: Gate) -> Normalized:
        return Normalized(short_name=type(gate).__name__)

    assert world.work(made(function)).completed == 5
    assert (gate.opened, gate.closed) == (1, 1)


def test_a_resource_that_cannot_be_opened_fails_its_attempts_and_is_tried_again(
    world: World,
) -> None:
    class Away:
        tries = 0

    @resource
    async def away() -> AsyncIterator[Away]:
        Away.tries += 1
        if Away.tries == 1:
            raise ConnectionError("not yet")
        yield Away()

    async def function(_: Company, away: Away) -> Normalized:
        return Normalized(short_name=type(away).__name__)

    world.operator.set_step("normalize", {"backoff_s": 0})
    world.claimed(1)
    try:
        with closing(Runtime(world.worker)) as runtime:
            assert runtime.submit(made(function), world.ids()).done.result().failed == 1
            assert texts(world)["company-0"] == ("IN_PROGRESS", "ConnectionError: not yet")
            world.tick()
            assert runtime.submit(made(function), world.ids()).done.result().completed == 1
    finally:
        del OPENERS[Away]


class Asked:
    """A resource that each test opens in its own way."""


@pytest.fixture
def asked() -> Iterator[None]:
    yield
    OPENERS.pop(Asked, None)


@pytest.mark.usefixtures("asked")
def test_a_resource_that_exits_ends_no_event_loop(world: World) -> None:
    @resource
    async def exits() -> AsyncIterator[Asked]:
        raise SystemExit("no key")
        yield Asked()

    async def function(_: Company, asked: Asked) -> Normalized:
        return Normalized(short_name=type(asked).__name__)

    world.claimed(2)
    assert world.work(made(function)).failed == 2
    assert texts(world)["company-0"] == ("IN_PROGRESS", "SystemExit: no key")


def test_a_task_of_a_step_that_exits_ends_no_event_loop(world: World) -> None:
    async def exit_now() -> None:
        raise SystemExit(3)

    async def function(company: Company) -> Normalized:
        if company.key == "company-0":
            await asyncio.gather(exit_now())
        await asyncio.sleep(0.1)
        return Normalized()

    world.claimed(3)
    assert world.work(made(function)) == WorkReport(begun=3, completed=2, failed=1)
    assert texts(world)["company-0"] == ("IN_PROGRESS", "SystemExit: 3")


@pytest.mark.parametrize("cpu", [False, True])
@pytest.mark.usefixtures("asked")
def test_a_resource_that_hangs_at_opening_times_out_on_a_thread_too(
    world: World, cpu: bool
) -> None:
    @resource
    async def hangs() -> AsyncIterator[Asked]:
        await asyncio.Event().wait()
        yield Asked()

    def function(_: Company, asked: Asked) -> Normalized:
        return Normalized(short_name=type(asked).__name__)

    world.claimed(1)
    report = world.work(made(function, cpu=cpu, timeout_s=0.3))
    assert report == WorkReport(begun=1, failed=1)
    assert texts(world)["company-0"] == ("IN_PROGRESS", "took longer than 0.3 s")


@pytest.mark.usefixtures("asked")
def test_a_resource_whose_opening_hangs_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "OPEN_WITHIN_S", 0.1)
    tries = list[int]()

    @resource
    async def hangs_once() -> AsyncIterator[Asked]:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.Event().wait()
        yield Asked()

    async def function(_: Company, asked: Asked) -> Normalized:
        return Normalized(short_name=type(asked).__name__)

    world.operator.set_step("normalize", {"backoff_s": 0})
    world.claimed(1)
    with closing(Runtime(world.worker)) as runtime:
        assert runtime.submit(made(function), world.ids()).done.result().failed == 1
        assert texts(world)["company-0"][1] == "TimeoutError: Asked was not opened within 0.1 s"
        world.tick()
        assert runtime.submit(made(function), world.ids()).done.result().completed == 1


@pytest.mark.parametrize("how", ["raises", "hangs", "yields twice"])
@pytest.mark.usefixtures("asked")
def test_a_resource_that_cannot_be_closed_keeps_no_process_from_its_end(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resources, "CLOSE_WITHIN_S", 0.1)

    @resource
    async def opened() -> AsyncIterator[Asked]:
        yield Asked()
        if how == "raises":
            raise ConnectionError("gone")
        if how == "hangs":
            await asyncio.Event().wait()
        yield Asked()

    async def function(_: Company, asked: Asked) -> Normalized:
        return Normalized(short_name=type(asked).__name__)

    world.claimed(1)
    assert world.work(made(function)).completed == 1
    assert "a resource was not closed" in caplog.text


def test_the_http_session_is_there_without_a_word(world: World) -> None:
    world.claimed(3)
    sessions = set[int]()

    async def function(_: Company, http: aiohttp.ClientSession) -> Normalized:
        sessions.add(id(http))
        assert not http.closed
        return Normalized()

    assert world.work(made(function)).completed == 3
    assert len(sessions) == 1


# Secrets.


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_read", set())


def test_a_secret_is_in_no_error_no_result_and_no_log_line(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("APOLLO_KEY", 'k"y&1234567')
    world.claimed(2)
    caplog.handler.addFilter(Masking())

    async def function(company: Company) -> Normalized:
        key = company.secret("APOLLO_KEY")
        logging.getLogger("of a step").warning("asking with %s", key)
        if company.key == "company-0":
            raise ValueError(f"GET https://api.example.com?key=k%22y%261234567 with {key}: 500")
        return Normalized(short_name=f"got {key} back")

    assert world.work(made(function)) == WorkReport(begun=2, completed=1, failed=1)
    says = "ValueError: GET https://api.example.com?*** with ***: 500"
    assert texts(world)["company-0"] == ("IN_PROGRESS", says)
    assert world.sql("SELECT short_name FROM results.normalized")[0]["short_name"] == "got *** back"
    assert "asking with ***" in caplog.text
    assert "1234567" not in caplog.text + json.dumps(world.rows(), default=str)


def test_a_secret_that_is_missing_holds_the_step_and_says_where_to_put_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APOLLO_KEY", raising=False)
    world.claimed(1)

    async def function(company: Company) -> Normalized:
        return Normalized(short_name=company.secret("APOLLO_KEY"))

    assert world.work(made(function)).failed == 0
    assert texts(world)["company-0"] == ("PENDING", None)
    ((kind, why),) = [tuple(row.values()) for row in world.sql("SELECT kind, reason FROM holds")]
    assert kind == "secret"
    assert why.startswith("APOLLO_KEY is not set for the workers")


@pytest.mark.parametrize("on_loop", [True, False])
def test_a_variable_that_is_missing_is_no_companys_fault(
    world: World, monkeypatch: pytest.MonkeyPatch, on_loop: bool
) -> None:
    monkeypatch.delenv("APOLLO_KEY", raising=False)
    world.claimed(3)

    def on_thread(_: Company) -> Normalized:
        return Normalized(short_name=os.environ["APOLLO_KEY"])

    async def coroutine(company: Company) -> Normalized:
        return on_thread(company)

    assert world.work(made(coroutine if on_loop else on_thread)).failed == 0
    assert world.statuses() == {"PENDING": 3}
    assert {row["attempt"] - row["forgiven"] for row in world.rows()} == {0}
    (found,) = world.sql("SELECT reason FROM holds")
    assert found["reason"].startswith("APOLLO_KEY is not in the environment of the workers: ")


def test_a_key_error_of_the_steps_own_is_its_own(world: World) -> None:
    world.claimed(1)

    async def function(_: Company) -> Normalized:
        return Normalized(short_name=dict[str, str]()["employees"])

    assert world.work(made(function)).failed == 1
    assert texts(world)["company-0"][1] == "KeyError: 'employees'"


def test_a_secret_that_is_declared_is_missed_before_the_first_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APOLLO_KEY", raising=False)
    world.claimed(2)
    called = list[str]()

    async def function(company: Company) -> Normalized:
        called.append(company.key)
        return Normalized()

    step = made(function, env=("APOLLO_KEY",))
    assert world.work(step) == WorkReport()
    assert (called, world.statuses()) == ([], {"PENDING": 2})
    monkeypatch.setenv("APOLLO_KEY", "k-1234567")
    assert world.operator.resume_step("normalize")
    world.tick()
    assert world.work(step).completed == 2


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Odd(dict[int, Normalized]):
    def get(self, *_: Any) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize("on_loop", [True, False])
@pytest.mark.parametrize(
    "error",
    [Exits(), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()],
)
def test_whatever_is_raised_ends_one_company_and_no_thread(
    world: World, error: BaseException, on_loop: bool
) -> None:
    world.claimed(3)

    def on_thread(company: Company) -> Normalized:
        if company.key == "company-1":
            raise error
        return Normalized()

    async def coroutine(company: Company) -> Normalized:
        return on_thread(company)

    chosen = coroutine if on_loop else on_thread
    assert world.work(made(chosen)) == WorkReport(begun=3, completed=2, failed=1)
    assert str(texts(world)["company-1"][1]).startswith(type(error).__name__)


def test_a_dict_of_the_steps_own_kind_is_read_as_a_dict(world: World) -> None:
    world.claimed(2)

    async def function(companies: list[Company]) -> dict[int, Normalized]:
        return Odd({company.id: Normalized() for company in companies})

    assert world.work(made(function, bulk=2)).completed == 2


def test_a_result_that_cannot_be_dumped_costs_no_other_company(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claimed(5)
    dump = Normalized.model_dump

    def strange(self: Normalized, **options: Any) -> Any:
        if self.short_name == "company-3":
            raise TypeError("no such thing")
        return dump(self, **options)

    async def function(company: Company) -> Normalized:
        return Normalized(short_name=company.key)

    monkeypatch.setattr(Normalized, "model_dump", strange)
    assert world.work(made(function)) == WorkReport(begun=5, completed=4, failed=1)
    status, text = texts(world)["company-3"]
    assert (status, str(text)[:33]) == ("FAILED", "result not written: no such thing")
