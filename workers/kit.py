"""All that a step's author imports: what a step is given, what it returns, what it may raise."""

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import LargeBinary

from reconciler.contract.results import Company, StepResult
from workers.resources import Resources, is_http, resource
from workers.signature import Input, Signature, read_signature

__all__ = [
    "Company",
    "NotFound",
    "PermanentError",
    "RetryAfter",
    "StepResult",
    "resource",
    "run_step",
    "step",
]

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

LONGEST_S = 24 * 60 * 60  # the longest time-out that Modal takes

StepFunction = Callable[..., Any]
F = TypeVar("F", bound=StepFunction)


class PermanentError(Exception):
    """Raised by a step: no further attempt would help, so the row becomes FAILED at once."""


class NotFound(Exception):
    """Raised by a step: there is nothing to find about the company, so the row is NOT_FOUND.

    To return None says the same.
    """


class RetryAfter(Exception):
    """Raised by a step: the other side asks to be left alone for `seconds`."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        super().__init__(reason or f"asked to wait {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Step:
    """A step of a blueprint: a function from a company to the row of its domain table.

    `settings` are its first values in the registry, where they can be tuned. For the other fields
    see `step`.
    """

    name: str
    function: StepFunction
    signature: Signature
    timeout_s: float = 60.0
    concurrency: int = 100
    cpu: bool = False
    bulk: int | None = None
    secrets: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> type[StepResult]:
        """The domain table that its results are written to."""
        return self.signature.table

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The earlier steps' results that it takes."""
        return self.signature.inputs

    @property
    def needed(self) -> tuple[type[StepResult], ...]:
        """The tables of the results that it cannot do without."""
        return tuple(taken.table for taken in self.inputs if taken.needed)

    @property
    def calls_at_once(self) -> int:
        """How many calls of the function one worker process makes at a time."""
        return 1 if self.cpu else max(1, self.concurrency // (self.bulk or 1))

    @property
    def companies_at_once(self) -> int:
        """How many companies these calls work."""
        return self.calls_at_once * (self.bulk or 1)

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; else it runs on threads."""
        return inspect.iscoroutinefunction(self.function)


def step(
    *,
    timeout_s: float = 60.0,
    concurrency: int = 100,
    cpu: bool = False,
    bulk: int | None = None,
    secrets: tuple[str, ...] | list[str] = (),
    env: tuple[str, ...] | list[str] = (),
    packages: tuple[str, ...] | list[str] = (),
    **settings: float,
) -> Callable[[F], F]:
    """Make a function a step, named as the function; its return annotation names the domain table.

    An `async def` runs on the worker's event loop; a `def` runs on a thread.

    Args:
        timeout_s: seconds that one call of the function may take.
        concurrency: companies of the step that one worker process works at a time.
        cpu: the function computes rather than waits, so it runs once at a time in a process.
        bulk: the function takes a list of so many companies at most, and returns what came of
            each, by company id.
        secrets: names of Modal Secrets whose values the function may read.
        env: names of the secrets without which the step is held, as `company.secret` takes them.
        packages: requirements for its Modal image, as pip writes them.
        settings: first values in the registry: max_attempts, lease_s, start_deadline_s, backoff_s,
            backoff_max_s, max_in_flight, chunk_size, hold_after, give_up_after_s.

    Raises:
        TypeError: the function takes or returns what a worker cannot give or write.
        ValueError: an argument is out of its bounds.
    """
    if not 0 < timeout_s <= LONGEST_S:
        raise ValueError(f"timeout_s is between 0 and {LONGEST_S} (it is {timeout_s!r})")
    if concurrency < 1 or (bulk is not None and bulk < 1):
        raise ValueError("concurrency and bulk are at least 1")

    def mark(function: F) -> F:
        if not NAME.fullmatch(function.__name__):
            raise TypeError(f"{function.__name__} is no step name: use a-z, 0-9 and _")
        made = Step(
            name=function.__name__,
            function=function,
            signature=read_signature(function, bulk=bulk is not None),
            timeout_s=timeout_s,
            concurrency=concurrency,
            cpu=cpu,
            bulk=bulk,
            secrets=tuple(secrets),
            env=tuple(env),
            packages=tuple(packages),
            settings=settings | ({} if bulk is None else whole_calls(bulk, settings)),
        )
        _check(made)
        function.tracer_step = made  # type: ignore[attr-defined]
        return function

    return mark


def run_step(function: StepFunction, companies: Company | list[Company], **inputs: Any) -> Any:
    """Call a step as a worker does, in a test: its resources are opened, its time-out holds.

    Returns what the function returns. `inputs` are earlier results, by the parameters' names; a
    resource that is named there is used instead of the real one.

    Raises:
        TimeoutError: an `async def` took longer than its `timeout_s`.
        Exception: whatever the function raises.
    """
    made: Step = function.tracer_step  # type: ignore[attr-defined]

    async def call() -> Any:
        async with aclosing(Resources()) as resources:
            wanted = {n: t for n, t in made.signature.resources.items() if n not in inputs}
            found = function(companies, **inputs, **await resources.of(wanted))
            if not made.is_async:
                return found
            async with asyncio.timeout(made.timeout_s):
                return await found

    return asyncio.run(call())


def whole_calls(bulk: int, settings: Mapping[str, float]) -> dict[str, float]:
    """The chunk size of a bulk step: about 100 companies, so many that no call is half full."""
    return {"chunk_size": settings.get("chunk_size", bulk * max(1, 100 // bulk))}


def _check(made: Step) -> None:
    """Refuse what a worker cannot run, and results that would lose a value."""
    if made.cpu and made.is_async:
        raise TypeError(f"{made.name} blocks the event loop if it computes: make it a `def`")
    for name, kind in made.signature.resources.items():
        if is_http(kind) and not made.is_async:
            raise TypeError(f"{made.name} must be an `async def` to use `{name}`")
    if lost := sorted(_unwritable(made.table)):
        raise TypeError(
            f"{made.table.__name__} cannot keep {', '.join(lost)}: give each column its field's "
            "name, exclude no field, and write bytes as text"
        )


def _unwritable(table: type[StepResult]) -> Iterator[str]:
    """The fields of which a result would lose the value: it is written by JSON and by name."""
    columns = table.__table__.columns if hasattr(table, "__table__") else {}
    for name, field_info in table.model_fields.items():
        binary = name in columns and isinstance(columns[name].type, LargeBinary)
        if field_info.exclude or binary or (columns and name not in columns):
            yield name
