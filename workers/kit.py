"""All that a step's author imports: what a step is given, what it returns, what it may raise."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from sqlalchemy import LargeBinary

from reconciler.contract.results import Company, StepResult

__all__ = ["Company", "PermanentError", "RetryAfter", "StepResult", "step"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

LONGEST_S = 24 * 60 * 60  # the longest time-out that Modal takes

StepFunction = Callable[[Company], StepResult]
F = TypeVar("F", bound=StepFunction)


class PermanentError(Exception):
    """Raised by a step: no further attempt would help, so the row becomes FAILED at once."""


class RetryAfter(Exception):
    """Raised by a step: the other side asks to be left alone for `seconds`."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"asked to wait {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Step:
    """A step of a blueprint: a function from a company to the row of its domain table.

    `timeout_s` bounds one company's work. `calls_per_container` is how many calls share a Modal
    container and its connections: many for a step that waits for others, 1 for one that computes.
    `packages` are what its image needs beside Tracer's own. `settings` are its first values in the
    registry, where they can be tuned.
    """

    name: str
    function: StepFunction
    table: type[StepResult]
    timeout_s: float = 60.0
    calls_per_container: int = 10
    packages: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def step(
    *,
    timeout_s: float = 60.0,
    calls_per_container: int = 10,
    packages: tuple[str, ...] = (),
    **settings: float,
) -> Callable[[F], F]:
    """Make a function a step, named as the function; its return annotation names the domain table.

    Args:
        timeout_s: seconds that one company may take.
        calls_per_container: calls that one Modal container works at a time.
        packages: requirements for its Modal image, as pip writes them.
        settings: first values in the registry: max_attempts, lease_s, start_deadline_s, backoff_s,
            backoff_max_s, max_in_flight, chunk_size.

    Raises:
        TypeError: the function does not take one company, or returns no StepResult table.
        ValueError: `timeout_s` is no time that can be waited for.
    """
    if not 0 < timeout_s <= LONGEST_S:
        raise ValueError(f"timeout_s is between 0 and {LONGEST_S} (it is {timeout_s!r})")

    def mark(function: F) -> F:
        table = get_type_hints(function).get("return")
        if not (isinstance(table, type) and issubclass(table, StepResult)):
            raise TypeError(f"{function.__name__} must be annotated to return a StepResult table")
        if len(inspect.signature(function).parameters) != 1:
            raise TypeError(f"{function.__name__} must take one argument, the company")
        if lost := sorted(_unwritable(table)):
            raise TypeError(
                f"{table.__name__} cannot keep {', '.join(lost)}: give each column its field's "
                "name, exclude no field, and write bytes as text"
            )
        if not NAME.fullmatch(function.__name__):
            raise TypeError(f"{function.__name__} is no step name: use a-z, 0-9 and _")
        made = Step(
            *(function.__name__, function, table, timeout_s),
            *(calls_per_container, packages, settings),
        )
        function.tracer_step = made  # type: ignore[attr-defined]
        return function

    return mark


def _unwritable(table: type[StepResult]) -> Iterator[str]:
    """The fields of which a result would lose the value: it is written by JSON and by name."""
    columns = table.__table__.columns if hasattr(table, "__table__") else {}
    for name, field_info in table.model_fields.items():
        binary = name in columns and isinstance(columns[name].type, LargeBinary)
        if field_info.exclude or binary or (columns and name not in columns):
            yield name
