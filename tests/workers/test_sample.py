"""The sample provider of the demo, and the steps that buy there."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from reconciler.schema.steps import sync_steps
from tests.paying import cap, url_of
from tests.world import STEPS, World
from workers.runtime.loading import load_steps
from workers.runtime.runtime import Runtime
from workers.sample.place import URL
from workers.sample.provider import KEY, PRODUCTS, SampleProvider, number, refused, serving

PAID = ("sample_headcount", "sample_technologies")


def domain(product: str, refusal: int | None = None, known: bool = True) -> str:
    """A company with which the provider does this."""
    for i in range(10_000):
        found = f"company-{i}.example.com"
        known_here = number(found, f"{product} is known") % 9 != 0
        if refused(product, found) == refusal and known_here == known:
            return found
    raise AssertionError("there is none")


@pytest.fixture
def provider() -> SampleProvider:
    return SampleProvider()


@pytest.fixture
def at(provider: SampleProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(provider) as url:
        monkeypatch.setenv(URL, url)
        yield url


def asked(url: str, key: str = "") -> tuple[int, dict[str, str], bytes]:
    """The answer to a GET: status, headers, body."""
    try:
        with urlopen(Request(url, headers={KEY: key})) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_the_first_call_for_some_companies_is_refused_and_the_next_is_sold(
    at: str, provider: SampleProvider
) -> None:
    busy, broken = domain("headcount", 429), domain("headcount", 500)
    status, headers, _ = asked(f"{at}/headcount?domain={busy}")
    assert (status, headers["Retry-After"]) == (429, "1")
    assert asked(f"{at}/headcount?domain={broken}")[0] == 500
    assert provider.account().charged == 0
    assert [asked(f"{at}/headcount?domain={one}")[0] for one in (busy, broken)] == [200, 200]
    counted = provider.accounts["headcount"]
    assert (counted.calls, counted.limited, counted.errors, counted.found) == (4, 1, 1, 2)
    assert counted.charged == 2 * PRODUCTS["headcount"].price


def test_a_company_that_it_does_not_know_costs_nothing(at: str, provider: SampleProvider) -> None:
    assert asked(f"{at}/headcount?domain={domain('headcount', known=False)}")[0] == 404
    assert (provider.account().unknown, provider.account().charged) == (1, 0)


@pytest.mark.parametrize(("product", "charges"), [("headcount", 2), ("technologies", 1)])
def test_technologies_honours_keys_and_headcount_does_not(
    at: str, provider: SampleProvider, product: str, charges: int
) -> None:
    first, again = (asked(f"{at}/{product}?domain={domain(product)}", "key") for _ in range(2))
    assert first[2] == again[2]
    assert provider.account().charged == charges * PRODUCTS[product].price


def test_it_shows_its_account_and_what_can_be_asked(at: str, provider: SampleProvider) -> None:
    asked(f"{at}/headcount?domain={domain('headcount')}")
    shown = json.loads(asked(f"{at}/account")[2])
    assert shown.pop("products")["headcount"] == asdict(provider.accounts["headcount"])
    assert shown == asdict(provider.account())
    status, _, body = asked(f"{at}/nonesuch?domain=a.com")
    assert (status, b"headcount, technologies" in body) == (400, True)


@pytest.mark.usefixtures("at")
def test_two_batches_cost_what_the_provider_says_and_the_second_calls_nobody(
    provider: SampleProvider, world: World
) -> None:
    steps = load_steps(("workers.steps", "workers.sample.steps"))
    sync_steps(url_of(world), steps)
    world.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0")
    world.seed(24, PAID)
    finish(world, "batch")
    first = provider.account()
    assert min(first.found, first.unknown, first.limited, first.errors) > 0
    assert cap(world)["spent"] == first.charged
    world.seed(24, PAID, name="again")
    finish(world, "again")
    assert (provider.account() - first).calls == 0
    assert set(world.statuses()) == {"COMPLETED", "NOT_FOUND"}
    assert cap(world)["spent"] == first.charged
    assert cap(world)["reserved"] == 0


def finish(world: World, batch: str) -> None:
    """Tick and work until the batch has ended, at times at which nothing waits any more."""
    steps = load_steps(("workers.steps", "workers.sample.steps"))
    for _ in range(30):
        world.sql("UPDATE workflow_states SET available_at = now() WHERE status = 'PENDING'")
        world.sql("UPDATE providers SET paused_until = NULL, next_at = NULL, spacing_s = NULL")
        world.tick()
        for name in PAID:
            world.work(steps[name])
        if world.operator.batch(batch).status == "FINISHED":
            world.tick()
            return
    raise AssertionError(world.statuses())


@pytest.mark.usefixtures("world")
def test_without_a_provider_the_steps_are_held_and_say_how_to_start_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL, raising=False)
    steps = load_steps(("workers.steps", "workers.sample.steps"))
    sync_steps(url_of(world), steps)
    world.seed(1, ["sample_headcount"])
    world.tick()
    with closing(Runtime(world.worker)) as runtime:
        ids = [row["company_id"] for row in world.rows()]
        runtime.submit(steps["sample_headcount"], ids).done.result()
    (held,) = world.sql("SELECT kind, reason FROM holds")
    assert held["kind"] == "secret"
    assert "python -m workers.sample" in held["reason"]
    assert not world.sql("SELECT true FROM orders WHERE sent_at IS NOT NULL")


def test_the_prices_are_the_same_on_both_sides() -> None:
    steps = load_steps(("workers.steps", "workers.sample.steps"))
    assert STEPS.keys().isdisjoint(PAID)
    for name, product in PRODUCTS.items():
        assert steps[f"sample_{name}"].terms.price == product.price
