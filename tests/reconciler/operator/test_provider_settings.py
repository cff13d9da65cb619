"""A provider's settings are changed beside claims and workers that change the same row."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from reconciler.operator.money.provider_settings import (
    pause_provider,
    read_settings,
    resume_provider,
    set_provider,
)
from tests.limits import row_of
from tests.paying import paying, with_paid_steps
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)


@pytest.fixture(autouse=True)
def provider() -> Iterator[None]:
    with paying():
        yield


def beside(world: World, url: str, worker: bytes, verb: Callable[[], dict[str, Any]]) -> Any:
    """What the verb returns, which begins while a worker's statement is not committed yet."""
    with ThreadPoolExecutor(1) as others, psycopg.connect(url) as connection:
        connection.execute(worker)
        done = others.submit(verb)
        world.wait_for_blocked()
        connection.commit()
        return done.result()


def test_a_set_loses_nothing_that_is_learned_meanwhile(world: World, url: str) -> None:
    learns = b"UPDATE providers SET learned_rate = 1, spacing_s = 1, ceiling = 2, calls_left = 7"
    settings = read_settings(["limit=5/s,100/d"])
    done = beside(world, url, learns, lambda: set_provider(world.operator, "acme", settings))
    assert done["learned_rate"] == 1
    row = row_of(world)
    assert (row["learned_rate"], row["spacing_s"], row["calls_left"]) == (1, 1, None)
    assert row["windows"][0] == {"limit": 5, "seconds": 1}


def test_a_resume_ends_a_pause_that_comes_meanwhile(world: World, url: str) -> None:
    pauses = b"UPDATE providers SET paused_until = 'infinity', pause_kind = 'refused'"
    assert beside(world, url, pauses, lambda: resume_provider(world.operator, "acme"))["changed"]
    assert row_of(world)["paused_until"] is None


def test_a_pause_keeps_the_reason_that_comes_meanwhile(world: World, url: str) -> None:
    pauses = b"UPDATE providers SET paused_until = 'infinity', paused_why = 'it answered 402'"
    done = beside(world, url, pauses, lambda: pause_provider(world.operator, "acme", None))
    assert done["paused_why"] == "it answered 402"
    assert row_of(world)["pause_kind"] == "operator"
