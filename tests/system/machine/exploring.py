"""How many runs of the machine a test makes, and how one of them is made again."""

import os
import random

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.system.machine.interleavings import Interleavings
from tests.system.machine.sides import Sides

RUNS = int(os.environ.get("INTERLEAVINGS", "1000"))
FEW = 50  # for `make test`
VERBS = 12  # in one run, at most


def explore(
    request: pytest.FixtureRequest,
    url: str,
    *,
    times: int,
    most_held: int,
    kind: type[Interleavings] = Interleavings,
) -> None:
    """Run the machine, at most so many transactions held open; say by which seed it was drawn."""
    given = request.config.getoption("--hypothesis-seed")
    number = random.SystemRandom().randrange(2**32) if given is None else int(given)
    request.node.add_report_section("call", "to replay", f"--hypothesis-seed={number}")
    world = Sides(url)

    @seed(number)
    def machine() -> Interleavings:
        return kind(world, most_held)

    runs = settings(
        max_examples=times,
        stateful_step_count=VERBS,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=runs)
    finally:
        world.close()
