"""All that a step's author imports: what a step is given, what it returns, what it may raise."""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import LargeBinary

from reconciler.contract.grants import SPECIAL
from reconciler.contract.orders import Buying, Order
from reconciler.contract.recall import Recall
from reconciler.contract.results import Company, StepResult
from workers.answer import Answer
from workers.buying import Terms, read_money
from workers.paid import Paid, unkept
from workers.providers import NAME, Provider, provider
from workers.raised import NotFound, PermanentError, RetryAfter
from workers.resources import Resources, is_http, resource
from workers.signature import Input, Signature, read_signature
from workers.version import version_of

__all__ = [
    "Answer",
    "Company",
    "NotFound",
    "Order",
    "Paid",
    "PermanentError",
    "Provider",
    "RetryAfter",
    "StepResult",
    "provider",
    "resource",
    "run_step",
    "step",
]

LONGEST_S = 24 * 60 * 60  # the longest time-out that Modal takes

StepFunction = Callable[..., Any]
F = TypeVar("F", bound=StepFunction)


@dataclass(frozen=True)
class Step:
    """A step of a blueprint: a function from a company to the row of its domain table.

    `settings` are its first values in the registry, where they can be tuned. `version` is that of
    its code: see `version_of`. For the other fields see `step`.
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
    version: str | None = None
    provider: Provider | None = None
    fresh_for_s: float | None = None
    recall: Recall = Recall.NONE
    key_ttl_s: float = 86_400.0
    terms: Terms = field(default_factory=Terms)

    @property
    def has_orders(self) -> bool:
        """Whether each company's attempt needs an order: see `step`."""
        return bool(self.provider or self.terms.price or self.fresh_for_s)

    @property
    def buying(self) -> Buying | None:
        """How it buys, None if it does not."""
        if not self.has_orders:
            return None
        return Buying(not self.signature.paid, self.terms.bills_hits_only)

    @property
    def money(self) -> dict[str, Any]:
        """What the registry knows of how it buys."""
        return {
            "provider": self.provider,
            "price": self.terms.price,
            "fresh_for_s": self.fresh_for_s,
            "recall": self.recall if self.signature.paid else Recall.AGAIN,
            "key_ttl_s": self.key_ttl_s,
            "bulk": self.bulk,
            "timeout_s": self.timeout_s,
        }

    @property
    def limits(self) -> dict[str, Any]:
        """The limits that its provider has first."""
        return self.provider.limits if self.provider else {}

    @property
    def bought_on(self) -> Terms:
        """The terms on which a worker buys."""
        return replace(self.terms, recall=self.recall, bulk=self.bulk is not None)

    @property
    def module(self) -> str:
        """The file that it is in, as Python names it."""
        return self.function.__module__

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
    provider: str | None = None,
    price: float | str | Decimal = 0,
    fresh_for: str | float | None = None,
    bills: str = "call",
    recall: str = "none",
    key_ttl: str | float = "1d",
    key_header: str = "Idempotency-Key",
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
        provider: the outside API that it calls, which it may share with other steps: its name, or
            what `provider(...)` has made, with its limits.
        price: what one company costs at most, in credits or any money; caps count in it.
        fresh_for: how long an answer is used again instead of a new call, such as "90d".
        bills: "call", or "hit" where a company that the provider does not know costs nothing.
        recall: what may be done about a call whose answer never came. "key": the provider knows the
            key again within `key_ttl`, so the call is repeated. "lookup": the step's `lookup` asks.
            "none": the row is FAILED, since it may have been charged.
        key_header: the name of the header in which the provider takes a key.
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

    money = read_money(provider, price, fresh_for, bills, recall, key_ttl, key_header)

    def mark(function: F) -> F:
        if not NAME.fullmatch(function.__name__):
            raise TypeError(f"{function.__name__} is no step name: use a-z, 0-9 and _")
        named = getattr(function, "tracer_provider", None)
        if function.__name__ in SPECIAL:
            raise TypeError(f"{function.__name__} is Tracer's own: give the step another name")
        signature = read_signature(function, bulk=bulk is not None)
        made = Step(
            name=function.__name__,
            function=function,
            signature=signature,
            version=version_of(function, signature.table),
            timeout_s=timeout_s,
            concurrency=concurrency,
            cpu=cpu,
            bulk=bulk,
            secrets=tuple(secrets),
            env=tuple(env),
            packages=tuple(packages),
            settings=settings | ({} if bulk is None else whole_calls(bulk, settings)),
            **money,
        )
        if named is not None:
            made = replace(made, provider=named)
        _check(made)
        function.tracer_step = made  # type: ignore[attr-defined]
        function.lookup = partial(_add_lookup, function)  # type: ignore[attr-defined]
        return function

    return mark


def _add_lookup(function: Any, lookup: F) -> F:
    """Have `lookup(order)` asked for calls whose answer never came: it returns what the provider
    says of the order, as JSON, or None if the order has not arrived there."""
    made: Step = function.tracer_step
    if made.recall is not Recall.LOOKUP:
        raise TypeError(f'{made.name} needs recall="lookup" for its lookup')
    if not inspect.iscoroutinefunction(lookup):
        raise TypeError(f"the lookup of {made.name} must be an `async def`")
    function.tracer_step = replace(made, terms=replace(made.terms, lookup=lookup))
    return lookup


def run_step(function: StepFunction, companies: Company | list[Company], **inputs: Any) -> Any:
    """Call a step as a worker does, in a test: its resources are opened, its time-out holds.

    Returns what the function returns. `inputs` are earlier results, by the parameters' names; a
    resource that is named there is used instead of the real one.

    Raises:
        TimeoutError: an `async def` took longer than its `timeout_s`.
        Exception: whatever the function raises.
    """
    made: Step = function.tracer_step  # type: ignore[attr-defined]
    paid = made.signature.paid

    async def call() -> Any:
        async with aclosing(Resources()) as resources:
            wanted = {n: t for n, t in made.signature.resources.items() if n not in inputs}
            given = dict(inputs)
            if paid and paid not in inputs:
                given[paid] = unkept(made.bought_on, await resources.http())
            found = function(companies, **given, **await resources.of(wanted))
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
    if made.signature.paid and not made.is_async:
        raise TypeError(f"{made.name} must be an `async def` to use `{made.signature.paid}`")
    if made.signature.paid and not made.has_orders:
        raise TypeError(f"{made.name} pays: name its `provider` or its `price`")
    if made.bulk and made.recall in (Recall.LOOKUP, Recall.KEY):
        raise TypeError(
            f"{made.name} is bulk: one call is for many orders, so that none has a key of its own: "
            'use recall="none"'
        )
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
