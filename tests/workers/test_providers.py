"""A provider and its limits, as a step's author writes them, and as they come into the database."""

from typing import Any

import pytest

from reconciler.contract.limits import MARGIN
from reconciler.schema.steps import sync_steps
from tests.paying import Staff, url_of
from tests.world import STEPS, World
from workers.kit import Company, Paid, Provider, Step, provider, step


def buying(**changes: Any) -> Step:
    """A step that names a provider so."""

    @step(**{"price": 1, **changes})
    async def staff(company: Company, paid: Paid) -> Staff | None:  # noqa: ARG001
        return None

    return staff.tracer_step  # type: ignore[attr-defined, no-any-return]


def synced(world: World, named: "str | Provider", **limits: Any) -> dict[str, Any]:
    """The provider's row, once its step is registered."""
    made = provider(named, **limits) if limits else named
    sync_steps(url_of(world), {**STEPS, "staff": buying(provider=made)})
    (found,) = world.sql(
        "SELECT windows, burst, max_concurrent, spacing_s FROM providers WHERE name = %(name)s",
        name=str(named),
    )
    return found


def test_a_step_takes_a_provider_by_its_name_or_with_its_limits() -> None:
    plain, limited = buying(provider="acme"), buying(provider=provider("acme", limit="5/s"))
    assert plain.provider == limited.provider == "acme"
    assert plain.limits == {"windows": None, "burst": 1, "max_concurrent": None}
    assert limited.limits["windows"] == [{"limit": 5, "seconds": 1}]


def test_a_provider_is_a_decorator_below_step() -> None:
    acme = provider("acme", limit="5/s", burst=3, max_concurrent=7)

    @step(price=1)
    @acme
    async def staff(company: Company, paid: Paid) -> Staff | None:  # noqa: ARG001
        return None

    made: Step = staff.tracer_step  # type: ignore[attr-defined]
    assert made.provider == "acme"
    assert made.limits == {
        "windows": [{"limit": 5, "seconds": 1}],
        "burst": 3,
        "max_concurrent": 7,
    }


def test_a_provider_may_be_shared() -> None:
    acme = provider("acme", limit="5/s")
    assert buying(provider=acme).limits == buying(provider=acme).limits


@pytest.mark.parametrize("name", ["", "Acme", "ac me", "9lives", "acme:day", "a" * 64, "ácme"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        provider(name)
    if name:
        with pytest.raises(ValueError, match="name"):
            buying(provider=name)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"limit": "often"}, "5/s"),
        ({"limit": ""}, "5/s"),
        ({"limit": "5/s,6/s"}, "each length once"),
        ({"limit": "1/2months"}, "5/s"),
        ({"burst": 0}, "at least 1"),
        ({"max_concurrent": 0}, "at least 1"),
        ({"max_concurrent": -1}, "at least 1"),
    ],
)
def test_bad_limits_are_refused_with_a_reason(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        provider("acme", **limits)


def test_the_first_values_come_from_the_code(world: World) -> None:
    assert synced(world, "acme", limit="4/s,1000/d", burst=3, max_concurrent=7) == {
        "windows": [{"limit": 4, "seconds": 1}, {"limit": 1000, "seconds": 86_400}],
        "burst": 3,
        "max_concurrent": 7,
        "spacing_s": (1 + MARGIN) / 4,
    }


def test_a_provider_without_known_limits_has_none(world: World) -> None:
    none = {"windows": None, "burst": 1, "max_concurrent": None, "spacing_s": None}
    assert synced(world, "acme") == none


def test_limits_that_the_code_names_later_are_taken(world: World) -> None:
    synced(world, "acme")
    found = synced(world, "acme", limit="4/s", burst=2, max_concurrent=7)
    assert (found["burst"], found["max_concurrent"]) == (2, 7)
    assert found["spacing_s"] == (1 + MARGIN) / 4


def test_a_persons_values_stay(world: World) -> None:
    synced(world, "acme", limit="4/s", burst=3, max_concurrent=7)
    world.sql(
        'UPDATE providers SET windows = \'[{"limit": 1, "seconds": 1}]\', burst = 2,'
        " max_concurrent = 3, spacing_s = 1.04"
    )
    assert synced(world, "acme", limit="9/s", burst=5, max_concurrent=9) == {
        "windows": [{"limit": 1, "seconds": 1}],
        "burst": 2,
        "max_concurrent": 3,
        "spacing_s": 1.04,
    }
    assert synced(world, "acme")["burst"] == 2


def test_a_learned_rate_that_is_slower_stays(world: World) -> None:
    synced(world, "acme")
    world.sql("UPDATE providers SET spacing_s = 2, learned_rate = 0.5")
    assert synced(world, "acme", limit="4/s")["spacing_s"] == 2
