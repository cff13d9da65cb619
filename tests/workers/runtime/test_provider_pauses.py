"""What a provider's refusals and faults do to it, and to the rows that wait for it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any
from unittest.mock import patch

import pytest

from reconciler.contract.worker_store import WorkerStore
from tests.limiting import gap_of, gaps, limit, provider_row, resume, times
from tests.paying import (
    NOT_PAID,
    Staff,
    made,
    orders,
    paying,
    register,
    staff,
    through,
    with_paid_steps,
)
from tests.standins.provider import CUT, HANG, Provider
from tests.world import World, doing
from workers.kit import Company, Paid, RetryAfter, Step
from workers.runtime.calls import WorkReport
from workers.runtime.runtime import Runtime

pytestmark = pytest.mark.filled(fill=with_paid_steps)

STAFF = made(staff)
ONE_BY_ONE = replace(STAFF, concurrency=1)


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def called(world: World, companies: int, step: Step = STAFF) -> WorkReport:
    """A batch of so many companies, after one call for all of them and a tick."""
    world.seed(companies, [step.name])
    world.store.claim(world.store.now())
    report = world.work(step)
    world.tick()
    return report


def all_do(provider: Provider, *acts: int | str, companies: int = 50) -> None:
    for i in range(companies):
        provider.do(f"company-{i}.example.com", *acts)


def used(world: World) -> set[int]:
    """The attempts that count, of all rows."""
    return {row["attempt"] - row["forgiven"] for row in world.rows()}


def pauses() -> Any:
    """Notes how often workers write that a provider must wait."""
    return patch.object(
        WorkerStore, "pause_provider", autospec=True, side_effect=WorkerStore.pause_provider
    )


# Refused.


@pytest.mark.parametrize(
    ("says", "from_s", "to_s"), [("30", 20, 30), ("date", 50, 60), ("", -5, 0.5)]
)
def test_a_429_pauses_the_provider_for_as_long_as_it_asks(
    world: World, provider: Provider, says: str, from_s: float, to_s: float
) -> None:
    at = world.store.now() + timedelta(seconds=60)
    provider.retry_after = format_datetime(at, usegmt=False) if says == "date" else says
    all_do(provider, 429)
    called(world, 1)
    found = provider_row(world)
    assert (found["pause_kind"], found["paused_why"]) == ("asked", "the provider answered 429")
    assert from_s <= found["waits_s"] <= to_s


def test_many_429s_slow_the_provider_once_and_cost_no_row_an_attempt(
    world: World, provider: Provider
) -> None:
    provider.retry_after = "30"
    all_do(provider, 429)
    with pauses() as written:
        called(world, 40)
    assert written.call_count < 10
    assert provider_row(world)["refusals"] == 1
    assert world.statuses() == {"PENDING": 40}
    assert used(world) == {0}


@pytest.mark.parametrize("status", [401, 402])
def test_no_credits_and_a_wrong_key_pause_it_until_somebody_resumes_it(
    world: World, provider: Provider, status: int
) -> None:
    """No row fails of it, and those that were not called for go back."""
    all_do(provider, status)
    provider.latency_s = 0.05
    called(world, 30, ONE_BY_ONE)
    found = provider_row(world)
    assert (found["pause_kind"], found["paused_why"]) == (
        "refused",
        f"it answered {status}",
    )
    assert provider_row(world)["waits_s"] == float("inf")
    assert provider.calls.total() < 30
    assert world.statuses() == {"PENDING": 30}
    assert used(world) == {0}
    provider.script.clear()
    resume(world)
    through(world)
    assert world.statuses() == {"COMPLETED": 30}


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_calls_under_way_when_it_is_paused_are_not_sent(
    world: World, provider: Provider, max_attempts: int
) -> None:
    """And their rows lose no attempt."""
    world.sql("UPDATE enrichment_registry SET max_attempts = %(most)s", most=max_attempts)

    async def function(company: Company, paid: Paid) -> Staff | None:
        world.sql("UPDATE providers SET paused_until = 'infinity', pause_kind = 'operator'")
        return await staff(company, paid)

    called(world, 3, replace(STAFF, function=function))
    assert provider.calls.total() == 0
    assert world.statuses() == {"PENDING": 3}
    assert used(world) == {0}
    assert provider_row(world)["pause_kind"] == "operator"


def test_a_step_that_asks_to_wait_pauses_its_provider(world: World) -> None:
    register(world, staff, signature=NOT_PAID.signature)

    def function(_: Company) -> Staff | None:
        raise RetryAfter(30, "come back later")

    called(world, 2, replace(NOT_PAID, function=function))
    assert 25 < provider_row(world)["waits_s"] <= 30
    assert "come back later" in provider_row(world)["paused_why"]


def test_a_step_without_a_provider_pauses_none(world: World) -> None:
    def function(_: Company) -> None:
        raise RetryAfter(30)

    with pauses() as written:
        called(world, 2, doing(function))
    assert written.call_count == 0


# Failing.


@pytest.mark.parametrize("act", [500, 503, 403, 408, CUT])
def test_five_faults_in_a_row_pause_it_once(
    world: World, provider: Provider, act: int | str
) -> None:
    all_do(provider, act)
    called(world, 5)
    found = provider_row(world)
    assert (found["pause_kind"], found["failures"], found["refusals"]) == ("failing", 1, 0)
    assert 10 < provider_row(world)["waits_s"] <= 15


def test_five_time_outs_in_a_row_pause_it(world: World, provider: Provider) -> None:
    all_do(provider, HANG)
    called(world, 5, replace(STAFF, timeout_s=0.3))
    found = provider_row(world)
    assert (found["pause_kind"], found["failures"]) == ("failing", 1)
    assert found["paused_why"].startswith("it did not answer")


def test_fewer_faults_are_the_companies(world: World, provider: Provider) -> None:
    all_do(provider, 500, companies=4)
    called(world, 4)
    assert provider_row(world)["waits_s"] is None


def test_a_call_that_goes_well_ends_the_row(world: World, provider: Provider) -> None:
    all_do(provider, 500, companies=8)
    provider.script.pop("company-4.example.com")
    called(world, 8, ONE_BY_ONE)
    assert provider_row(world)["waits_s"] is None


def test_rows_that_were_not_called_for_lose_no_attempt_when_it_fails(
    world: World, provider: Provider
) -> None:
    all_do(provider, 500)
    provider.latency_s = 0.05
    called(world, 40, ONE_BY_ONE)
    assert provider_row(world)["failures"] == 1
    tried = provider.calls.total()
    assert 5 <= tried < 40
    assert [row["attempt"] - row["forgiven"] for row in world.rows()].count(0) == 40 - tried


def probing(world: World, companies: int = 3) -> None:
    """It was failing, and the pause is over."""
    world.seed(companies, ["staff"])
    world.sql(
        "UPDATE providers SET failures = 2, paused_until = now() - interval '1 s',"
        " pause_kind = 'failing', paused_why = 'it answered 500' WHERE name = 'acme'"
    )
    world.store.claim(world.store.now())


def test_one_call_that_goes_well_shows_that_it_is_well(world: World, provider: Provider) -> None:
    probing(world)
    world.work(STAFF)
    found = provider_row(world)
    assert (found["failures"], found["pause_kind"], found["waits_s"]) == (0, None, None)
    through(world)
    assert provider.calls.total() == 3


def test_one_call_that_fails_shows_that_it_is_not(world: World, provider: Provider) -> None:
    all_do(provider, 500)
    probing(world)
    world.work(STAFF)
    assert provider_row(world)["failures"] == 3
    assert 50 < provider_row(world)["waits_s"] <= 60
    assert provider.calls.total() == 1


def test_a_call_that_was_refused_shows_nothing_of_its_faults(
    world: World, provider: Provider
) -> None:
    provider.retry_after = "30"
    all_do(provider, 429)
    probing(world)
    world.work(STAFF)
    found = provider_row(world)
    assert (found["failures"], found["pause_kind"]) == (2, "asked")


def test_an_answer_that_is_kept_shows_nothing(world: World, provider: Provider) -> None:
    """Nobody was called."""
    world.seed(1, ["staff"])
    world.store.claim(world.store.now())

    async def blind(company: Company, paid: Paid) -> None:
        await staff(company, paid)
        raise ValueError("cannot read it")

    world.work(replace(STAFF, function=blind))
    world.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0")
    world.sql("UPDATE providers SET failures = 2, paused_until = now() - interval '1 s'")
    world.tick()
    world.work(STAFF)
    assert world.statuses() == {"COMPLETED": 1}
    assert provider.calls.total() == 1
    assert provider_row(world)["failures"] == 2


# At their times.


def test_no_call_goes_out_before_its_time(world: World, provider: Provider) -> None:
    limit(world, "10/s")
    world.seed(6, ["staff"])
    world.store.claim(world.store.now())
    meant = times(world)
    assert len(meant) == 6
    world.work(STAFF)
    sent = [order["sent_at"] for order in sorted(orders(world), key=lambda o: o["sent_at"])]
    assert all(at >= slot - timedelta(milliseconds=5) for at, slot in zip(sent, meant, strict=True))
    assert provider.calls.total() == 6


def test_calls_that_are_late_go_out_one_after_the_other(world: World, provider: Provider) -> None:
    """Their worker was slow to begin: at once they would come beside those of others."""
    limit(world, "10/s")
    world.seed(6, ["staff"])
    world.store.claim(world.store.now())
    world.sql("UPDATE orders SET send_at = send_at - interval '10 s'")
    before = world.store.now()
    with closing(Runtime(world.worker)) as runtime:
        runtime.submit(STAFF, world.ids()).done.result()
    sent = [order["sent_at"] for order in orders(world)]
    assert provider.calls.total() == 6
    assert sum(gaps(sent)) >= 5 * gap_of(10) - 0.05
    row = provider_row(world)
    assert row["next_at"] >= before + timedelta(seconds=6 * gap_of(10))
    assert world.statuses() == {"COMPLETED": 6}


def test_calls_wait_until_a_short_pause_is_over(world: World, provider: Provider) -> None:
    """One was refused; those that are to go out meanwhile get other times, and lose nothing."""
    limit(world, "10/s")
    provider.retry_after = "1"
    provider.do("company-0.example.com", 429)
    world.seed(8, ["staff"])
    world.store.claim(world.store.now())
    began = monotonic()
    through(world, ticks=200)
    assert provider.calls.total() == 9
    assert monotonic() - began > 1
    assert world.statuses() == {"COMPLETED": 8}
    assert used(world) == {1}
