"""What a step takes and returns, read from its function's annotations."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from reconciler.contract.results import Company, StepResult
from workers.paid import Paid


@dataclass(frozen=True)
class Input:
    """A parameter that is an earlier step's result: the row of `table`.

    If it is `needed`, a company without that row is SKIPPED; else the parameter is None.
    """

    parameter: str
    table: type[StepResult]
    needed: bool


@dataclass(frozen=True)
class Signature:
    """The table that a step fills, and what it takes beside its companies.

    `resources`: the type of a resource, by the name of its parameter. `paid`: the name of the
    parameter through which it pays.
    """

    table: type[StepResult]
    inputs: tuple[Input, ...] = ()
    resources: Mapping[str, type] = field(default_factory=dict)
    paid: str | None = None


def read_signature(function: Callable[..., Any], *, bulk: bool) -> Signature:
    """The signature of a step's function.

    Raises:
        TypeError: a worker could not call the function, or it returns no StepResult table.
    """
    name, hints = function.__name__, get_type_hints(function)
    first, *others = inspect.signature(function).parameters.values() or (None,)
    company = list[Company] if bulk else Company
    if first is None or hints.get(first.name, company) != company:
        wanted = "companies: list[Company]" if bulk else "company: Company"
        raise TypeError(f"The first parameter of {name} must be `{wanted}`")
    inputs, resources, paid = [], dict[str, type](), None
    for parameter in others:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name} must name its parameters: *args and **kwargs get nothing")
        if hints.get(parameter.name) is Paid:
            paid = parameter.name
            continue
        match _taken(parameter.name, hints.get(parameter.name), bulk):
            case Input() as found:
                inputs.append(found)
            case type() as kind:
                resources[parameter.name] = kind
            case None:
                raise TypeError(
                    f"{name} cannot be given `{parameter.name}`: annotate it with another step's "
                    "table, such as `Normalized` or `Normalized | None`, or with a resource's type"
                )
    return Signature(_returned(name, hints.get("return"), bulk), tuple(inputs), resources, paid)


def _taken(parameter: str, hint: Any, bulk: bool) -> Input | type | None:
    """What is given for a parameter: an input, or a resource of that type."""
    of_one = _value_by_id(hint) if bulk else hint
    kinds = _union(of_one)
    tables = _tables(kinds)
    if len(tables) == 1 and set(kinds) <= {tables[0], NoneType}:
        return Input(parameter, tables[0], needed=NoneType not in kinds)
    return hint if isinstance(hint, type) and not tables and hint is not NoneType else None


def _returned(name: str, hint: Any, bulk: bool) -> type[StepResult]:
    """The one table among what a step returns."""
    kinds = _union(_value_by_id(hint) if bulk else hint)
    tables = _tables(kinds)
    others = set(kinds) - set(tables) - {NoneType}
    if len(tables) == 1 and all(bulk and issubclass(kind, Exception) for kind in others):
        return tables[0]
    wanted = "dict[int, Table | None | Exception]" if bulk else "Table` or `Table | None"
    raise TypeError(f"{name} must be annotated to return a StepResult table: `{wanted}`")


def _value_by_id(hint: Any) -> Any:
    """The values' type of a dict by company id."""
    arguments = get_args(hint)
    by_id = get_origin(hint) is dict and len(arguments) == 2 and arguments[0] is int
    return arguments[1] if by_id else None


def _union(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of another type, the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _tables(kinds: Sequence[Any]) -> list[type[StepResult]]:
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StepResult)]
