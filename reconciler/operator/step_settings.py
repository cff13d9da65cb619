"""What the settings of a step may be: the rules of the registry's columns, in words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import YEAR_S, StepSettings

LARGEST = 2**31 - 1  # the largest whole number that a column holds
_COUNT = f"is from 0 to {LARGEST:,}"
_YEAR = f"{YEAR_S:,} at most (a year)"

# By the registry's constraint: its columns, and what they may be.
RULES = {
    "max_attempts": (("max_attempts",), "max_attempts is from 1 to 1,000"),
    "leases": (
        ("lease_s", "start_deadline_s"),
        f"lease_s and start_deadline_s are above 0, and {_YEAR}",
    ),
    "backoff": (
        ("backoff_s", "backoff_max_s"),
        f"backoff_s is 0 or more, and not above backoff_max_s, which is {_YEAR}",
    ),
    "max_in_flight": (("max_in_flight",), f"max_in_flight {_COUNT}"),
    "chunk_size": (("chunk_size",), "chunk_size is from 1 to 100,000"),
    "hold_after": (("hold_after",), f"hold_after {_COUNT}"),
    "give_up_after": (("give_up_after_s",), f"give_up_after_s is above 0, and {_YEAR}"),
}
RULE_OF = {name: rule for rule, (names, _) in RULES.items() for name in names}


@contextmanager
def in_words(step: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Say in a sentence why the registry does not take these values for the step.

    Raises:
        BadInput: a value breaks a rule of its column.
    """
    for name, value in values.items():
        too_large = isinstance(value, int | float) and abs(value) > LARGEST
        if name in RULE_OF and too_large:  # Postgres would not say which column it is
            raise _refused(step, values, RULE_OF[name])
        if name in ("app_name", "function_name") and not value:
            raise BadInput(f"{step}: {name} is empty.")
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        prefix = f"ck_{StepSettings.__tablename__}_"
        rule = (error.diag.constraint_name or "").removeprefix(prefix)
        if rule in RULES:
            raise _refused(step, values, rule) from error
        raise BadInput(f"{step}: {str(error).splitlines()[0]}.") from error


def _refused(step: str, values: Mapping[str, Any], rule: str) -> BadInput:
    names, says = RULES[rule]
    given = ", ".join(f"{name}={_shown(values[name])}" for name in names if name in values)
    return BadInput(f"{step}: {given} is not allowed. {says}.")


def _shown(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, int | float) else repr(value)
