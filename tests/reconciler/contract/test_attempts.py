"""Attempts as operators expect: each that failed is kept, and a retry gives all of them again."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.results import Company
from reconciler.contract.sql.tick import ENDED
from reconciler.operator import steering, views
from reconciler.operator.batch import BatchView
from reconciler.operator.sql.steering import HOLD, REOPEN_BATCH, RETRY
from reconciler.operator.steering import ALL, START, Selection
from tests.terminal import SEED, Terminal
from tests.world import World, doing
from workers.kit import PermanentError, RetryAfter, Step
from workers.runtime.calls import WorkReport
from workers.steps.normalize import Normalized


def failing(text: str) -> Step:
    def function(_: Company) -> Normalized:
        raise ValueError(text)

    return doing(function)


def batch(world: World, name: str = "batch") -> BatchView:
    return world.operator.batch(name)


def exhaust(world: World, attempts: int = 3) -> datetime:
    """Fail the batch's rows until their attempts are used up; the moment at which they were."""
    world.operator.set_step("normalize", {"max_attempts": attempts, "backoff_s": 1})
    now = world.store.now()
    for number in range(1, attempts + 1):
        assert world.tick(now).claimed
        world.work(failing(f"no answer, try {number}"))
        now = max(now, world.store.now()) + timedelta(seconds=20)
        world.tick(now)
        now += timedelta(seconds=20)
    return now


def test_every_attempts_error_is_kept_and_can_be_read(world: World) -> None:
    world.seed(1)
    exhaust(world)
    _, (row,) = views.timeline(world.operator, batch(world), "company-0")
    assert (row["status"], row["attempt"]) == ("FAILED", 3)
    assert row["error"] == "ValueError: no answer, try 3"
    assert [(a["attempt"], a["error"]) for a in row["attempts"]] == [
        (1, "ValueError: no answer, try 1"),
        (2, "ValueError: no answer, try 2"),
    ]
    for attempt in row["attempts"]:
        assert attempt["queued_at"] < attempt["ended_at"]
    assert batch(world).status == "FINISHED"


def test_a_retry_gives_all_attempts_again_and_forgets_none(world: World) -> None:
    world.seed(2)
    now = exhaust(world)
    assert steering.retry(world.operator, batch(world)) == 2
    assert batch(world).status == "RUNNING"
    for number in (4, 5):
        assert world.tick(now).claimed == 2
        world.work(failing(f"no answer, try {number}"))
        now += timedelta(seconds=600)
        assert world.tick(now).retried == 2
        now += timedelta(seconds=600)
    assert world.tick(now).claimed == 2
    assert world.work().completed == 2
    world.tick(now)
    assert batch(world).status == "FINISHED"
    assert {row["attempt"] for row in world.rows()} == {6}
    _, (row,) = views.timeline(world.operator, batch(world), "company-0")
    assert [a["attempt"] for a in row["attempts"]] == [1, 2, 3, 4, 5]


def test_the_backoff_begins_anew_after_a_retry(world: World) -> None:
    world.seed(1)
    world.operator.set_step("normalize", {"backoff_max_s": 1000})
    now = exhaust(world, attempts=3)
    steering.retry(world.operator, batch(world))
    world.tick(now)
    world.work(failing("again"))
    now += timedelta(seconds=600)
    world.tick(now)
    assert world.rows()[0]["available_at"] - now <= timedelta(seconds=1)


def test_a_retry_can_be_of_one_step_or_of_one_error(world: World) -> None:
    world.seed(["a", "b"], ["normalize"], name="batch")
    world.tick()
    first, second = world.ids()

    def function(company: Company) -> Normalized:
        raise PermanentError("no such company" if company.id == first else "account closed")

    world.work(doing(function))
    (counted,) = steering.failed(world.operator, batch(world))
    assert (counted["step"], counted["status"], counted["rows"]) == ("normalize", "FAILED", 2)
    assert steering.failed(world.operator, batch(world), Selection(step="step_a")) == []
    assert steering.retry(world.operator, batch(world), Selection(error="account 100%")) == 0
    assert (
        steering.retry(world.operator, batch(world), Selection(step="normalize", error="account"))
        == 1
    )
    assert [(r["company_id"], r["status"]) for r in world.rows()] == [
        (first, "FAILED"),
        (second, "PENDING"),
    ]
    assert steering.retry(world.operator, batch(world), Selection(company="b")) == 0
    assert steering.retry(world.operator, batch(world), Selection(company="a")) == 1


def test_a_retry_of_nothing_leaves_a_finished_batch_as_it_is(world: World) -> None:
    world.seed(1)
    world.tick()
    world.work()
    world.tick()
    before = batch(world)
    assert steering.retry(world.operator, before) == 0
    assert batch(world).finished_at == before.finished_at


def test_a_cancelled_batch_is_not_retried(world: World) -> None:
    world.seed(1)
    steering.cancel(world.operator, batch(world))
    with pytest.raises(BadInput, match="is CANCELLED"):
        steering.retry(world.operator, batch(world))


def test_a_batch_is_not_finished_over_a_retry(world: World) -> None:
    """The retry commits after `finish` has looked, and before it writes."""
    world.seed(1)
    world.tick()
    world.work(doing(lambda _: {}))
    values = {"batch_id": batch(world).id, **vars(ALL), **START, "limit": 10}
    with ThreadPoolExecutor(1) as threads:
        with world.operator.transaction() as retrying:
            retrying.execute(HOLD, values)
            retrying.execute(REOPEN_BATCH, values)
            retrying.execute(RETRY.encode(), values)
            assert threads.submit(world.store.finish, world.store.now()).result(10) == []
        assert world.store.finish(world.store.now()) == []
    assert (batch(world).status, world.statuses()) == ("RUNNING", {"PENDING": 1})


def test_a_retry_waits_for_a_batch_that_is_being_finished(world: World) -> None:
    world.seed(1)
    world.tick()
    world.work(doing(lambda _: {}))
    with ThreadPoolExecutor(1) as threads:
        with world.store.transaction() as finishing:
            assert finishing.execute(ENDED.encode()).fetchall()
            retried = threads.submit(steering.retry, world.operator, batch(world))
            world.wait_for_blocked()
        assert retried.result(10) == 1
    assert (batch(world).status, world.statuses()) == ("RUNNING", {"PENDING": 1})


def test_a_retry_after_is_honoured_to_the_second(world: World) -> None:
    world.seed(1)
    world.operator.set_step("normalize", {"backoff_s": 0})
    world.tick()

    def function(_: Company) -> Normalized:
        raise RetryAfter(90)

    world.work(doing(function))
    failed_at = world.rows()[0]["lease_expires_at"]
    world.tick()
    assert not world.tick(failed_at + timedelta(seconds=89.9))
    assert world.tick(failed_at + timedelta(seconds=90.1)).claimed == 1


def test_a_paused_batch_is_not_claimed_until_it_is_resumed(world: World) -> None:
    world.seed(2)
    steering.pause(world.operator, batch(world))
    assert not world.tick()
    steering.pause(world.operator, batch(world), paused=False)
    assert world.tick().claimed == 2
    world.work()
    world.tick()
    with pytest.raises(BadInput, match="has ended"):
        steering.pause(world.operator, batch(world))


def test_a_step_function_that_hangs_is_left_behind_after_its_time_out(world: World) -> None:
    world.claimed(3)
    released, bad = Event(), world.ids()[1]

    def function(company: Company) -> Normalized:
        if company.id == bad:
            released.wait(30)
        return Normalized()

    started = time.monotonic()
    report = world.work(doing(function, timeout_s=0.3))
    released.set()
    assert time.monotonic() - started < 5
    assert report == WorkReport(begun=3, completed=2, failed=1, left_behind=1)
    (row,) = world.rows("error IS NOT NULL")
    assert row["error"] == "took longer than 0.3 s"
    assert world.tick().retried == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_what_no_function_should_raise_is_its_own_failure(
    world: World, error: BaseException
) -> None:
    world.claimed(1)

    def function(_: Company) -> Normalized:
        raise error

    assert world.work(doing(function)).failed == 1
    assert world.rows()[0]["error"].startswith(type(error).__name__)


def test_every_attempt_hands_the_step_the_same_idempotency_key(world: World) -> None:
    seen: list[str] = []

    def function(company: Company) -> Normalized:
        seen.append(company.idempotency_key)
        raise ValueError("no answer")

    world.operator.set_step("normalize", {"backoff_s": 0})
    for name in ("first", "second"):
        world.seed(["a"], name=name)
        for _ in range(2):
            world.tick()
            world.work(doing(function))
        steering.cancel(world.operator, batch(world, name))
    assert seen[0] == seen[1]
    assert seen[2] == seen[3] != seen[0]


def test_steering_on_the_command_line(tracer: Terminal, world: World, file: str) -> None:
    tracer("seed", file, *SEED)
    tracer("pause", "companies")
    assert "The batch is paused" in tracer.json("explain", "companies", "66740")["says"]
    tracer("resume", "companies")
    exhaust(world)
    assert (
        tracer.json("explain", "companies", "66740")["fix"]
        == "tracer retry --company=66740 companies"
    )
    shown = tracer("inspect", "companies", "--company", "66740")
    assert all(f"no answer, try {number}" in " ".join(shown.split()) for number in (1, 2, 3))
    tracer("retry", "companies", "--step", "normalise", code=2)
    assert "has no step 'normalise'. Did you mean 'normalize'?" in tracer.err
    tracer("retry", "companies", "--error", "no such text", "--yes")
    assert "Nothing was done" in tracer.err
    tracer("retry", "companies", code=2)
    assert "2 failed rows. Nothing was done: add --yes." in tracer.err
    tracer("retry", "companies", "--step", "normalize", "--error", "try 3", "--yes")
    assert "2 rows are pending again" in tracer.err


def asked_to_wait(seconds: float) -> Step:
    def function(_: Company) -> Normalized:
        raise RetryAfter(seconds)

    return doing(function)


def test_being_asked_to_wait_uses_up_no_attempt(world: World) -> None:
    world.operator.set_step("normalize", {"max_attempts": 2, "backoff_s": 1, "hold_after": 0})
    world.seed(3)
    now = world.store.now()
    for number in range(1, 6):
        assert world.tick(now).claimed == 3
        world.work(asked_to_wait(1))
        now += timedelta(seconds=40)
        assert world.tick(now).retried == 3
        assert {(r["attempt"], r["forgiven"]) for r in world.rows()} == {(number, number)}
        now += timedelta(seconds=40)
    world.tick(now)
    world.work(failing("no answer"))
    world.tick(now + timedelta(seconds=40))
    assert {(r["status"], r["waits_since"]) for r in world.rows()} == {("PENDING", None)}


def test_who_is_asked_to_wait_for_too_long_has_failed(world: World) -> None:
    world.operator.set_step("normalize", {"give_up_after_s": 60, "backoff_s": 1})
    world.seed(1)
    now = world.store.now()
    world.tick(now)
    world.work(asked_to_wait(1))
    assert world.tick(now + timedelta(seconds=20)).retried == 1
    world.tick(now + timedelta(seconds=70))
    world.work(asked_to_wait(1))
    assert world.tick(now + timedelta(seconds=90)).failed == 1
    (row,) = world.rows()
    assert (row["status"], row["error_kind"]) == ("FAILED", "retry_after")
    assert row["error"].startswith("asked to wait for longer than 60 s (give_up_after_s): ")
    assert steering.retry(world.operator, batch(world)) == 1
    assert world.rows()[0]["waits_since"] is None


def test_what_waits_can_be_let_go_now(world: World) -> None:
    world.seed(["a", "b", "c"], name="batch")
    world.tick()
    world.work(asked_to_wait(3600), world.ids()[:2])
    world.work(doing(lambda _: Normalized()), world.ids()[2:])
    world.sql("UPDATE workflow_states SET available_at = now() + interval '1 hour'")
    world.tick()
    assert world.tick().claimed == 0
    found = steering.waiting(world.operator, batch(world))
    assert found == [{"step": "normalize", "status": "PENDING", "rows": 2}]
    assert steering.wake(world.operator, batch(world), Selection(company="b")) == 1
    assert world.tick().claimed == 1
    assert steering.wake(world.operator, batch(world)) == 1
    assert steering.wake(world.operator, batch(world)) == 0
    assert world.tick().claimed == 1
    assert {row["forgiven"] for row in world.rows("status = 'QUEUED'")} == {1}


def test_waiting_rows_are_let_go_from_the_command_line(world: World, tracer: Terminal) -> None:
    world.claimed(2)
    world.work(asked_to_wait(3600))
    world.tick()
    world.store.beat()
    found = tracer.json("explain", "batch", "company-0")
    assert (found["code"], found["fix"]) == ("asked_to_wait", "tracer retry --waiting batch")
    answer = tracer.json("retry", "--waiting", "batch", "--yes")
    assert answer == {"batch": "batch", "rows": 2, "paused": False}
    tracer("retry", "--waiting", "batch", "--yes")
    assert "no waiting row matches" in tracer.err
    assert world.tick().claimed == 2
