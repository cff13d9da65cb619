"""`tracer steps set` with a value that is not allowed: a sentence, and nothing has changed."""

import pytest
from sqlalchemy import CheckConstraint

from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import SETTINGS, StepSettings
from reconciler.operator.step_settings import RULES
from tests.terminal import Terminal
from tests.world import World

YEAR = "31,536,000 at most (a year)."
LEASES = f"lease_s and start_deadline_s are above 0, and {YEAR}"
BACKOFF = f"backoff_s is 0 or more, and not above backoff_max_s, which is {YEAR}"
COUNT = "is from 0 to 2,147,483,647."
ATTEMPTS = "max_attempts is from 1 to 1,000."
CHUNK = "chunk_size is from 1 to 100,000."


def said(tracer: Terminal) -> str:
    return " ".join(tracer.err.split())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("max_in_flight=-1", f"max_in_flight {COUNT}"),
        ("max_in_flight=2147483648", f"max_in_flight {COUNT}"),
        ("max_in_flight=-99999999999", f"max_in_flight {COUNT}"),
        ("hold_after=-1", f"hold_after {COUNT}"),
        ("max_attempts=0", ATTEMPTS),
        ("max_attempts=1001", ATTEMPTS),
        ("max_attempts=99999999999", ATTEMPTS),
        ("chunk_size=0", CHUNK),
        ("chunk_size=100001", CHUNK),
        ("lease_s=0", LEASES),
        ("lease_s=nan", LEASES),
        ("start_deadline_s=inf", LEASES),
        ("backoff_s=-0.5", BACKOFF),
        ("backoff_s=601", BACKOFF),
        ("backoff_max_s=31536001", BACKOFF),
        ("give_up_after_s=0", f"give_up_after_s is above 0, and {YEAR}"),
    ],
)
def test_a_value_that_is_not_allowed_says_what_is(
    tracer: Terminal, world: World, given: str, says: str
) -> None:
    before = world.operator.steps()
    tracer("steps", "set", "step_a", "enabled=false", given, code=2)
    assert said(tracer) == f"step_a: {given} is not allowed. {says}"
    assert world.operator.steps() == before


def test_two_values_that_fit_together_may_be_set_together(tracer: Terminal) -> None:
    tracer("steps", "set", "step_a", "backoff_s=900", "backoff_max_s=1000")
    tracer("steps", "set", "step_a", "backoff_max_s=60", "backoff_s=70", code=2)
    assert f"step_a: backoff_s=70, backoff_max_s=60 is not allowed. {BACKOFF}" == said(tracer)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("app_name=", "step_a: app_name is empty."),
        ("function_name=", "step_a: function_name is empty."),
        ("max_in_flight", "'max_in_flight' has no value: write max_in_flight=VALUE."),
        ("enabled=perhaps", "enabled: Input should be a valid boolean"),
        ("lease_s=", "lease_s: Input should be a valid number"),
    ],
)
def test_other_values_that_cannot_be_used(tracer: Terminal, given: str, says: str) -> None:
    tracer("steps", "set", "step_a", given, code=2)
    assert says in said(tracer)


def test_every_rule_of_a_setting_is_in_words() -> None:
    found = {}
    for constraint in StepSettings.__table__.constraints:  # type: ignore[attr-defined]
        if isinstance(constraint, CheckConstraint):
            words = str(constraint.sqltext).split()
            if settings := {name for name in SETTINGS if name in words}:
                found[str(constraint.name).removeprefix("ck_enrichment_registry_")] = settings
    assert found == {rule: set(columns) for rule, (columns, _) in RULES.items()}


def test_a_setting_in_the_code_of_a_step_is_refused_in_the_same_words(world: World) -> None:
    wrong = {"chunk_size": 0}, {"chunk_size": 2**31}
    for settings in wrong:
        with pytest.raises(BadInput, match=f"step_x: .* is not allowed. {CHUNK}"):
            world.operator.sync_step("step_x", "app", settings)
    with pytest.raises(BadInput, match="step_x: null value in column"):
        world.operator.sync_step("step_x", "app", {"chunk_size": None})
