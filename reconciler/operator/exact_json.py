"""JSON whose numbers stay as they were written: 12345678901234567.5 has no float."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader

# What jsonb holds: 131,072 digits before the point, 16,383 behind it. A step reads floats, so a
# number that no float comes near is of no use to it.
_LARGEST, _SMALLEST = 308, -16383


def number(digits: str) -> Decimal:
    """The number that is written so.

    Raises:
        ValueError: jsonb cannot keep it, or no step could read it.
    """
    found = Decimal(digits)
    if found.adjusted() > _LARGEST:
        raise ValueError(f"{digits} is too large a number")
    if int(found.as_tuple().exponent) < _SMALLEST:
        raise ValueError(f"{digits[:20]}… has too many digits")
    return found


def dumps(
    value: Any,
    ensure_ascii: bool = True,
    default: Callable[[Any], Any] | None = None,
    decimal: Callable[[Decimal], str] = str,
) -> str:
    """The value as JSON; a Decimal is written by `decimal`, by default as it is.

    `default` makes of a value of another type one that JSON has.
    """

    def other(value: Any) -> Any:
        if default is None or isinstance(value, Decimal):
            raise TypeError
        return default(value)

    write = json.JSONEncoder(ensure_ascii=ensure_ascii, default=other).encode
    try:
        return write(value)
    except TypeError:  # it has a Decimal
        return _dumps(value, write, decimal)


def _dumps(value: Any, write: Callable[[Any], str], decimal: Callable[[Decimal], str]) -> str:
    if isinstance(value, Decimal):
        return decimal(value)
    if isinstance(value, dict):
        parts = (f"{write(name)}: {_dumps(part, write, decimal)}" for name, part in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_dumps(part, write, decimal) for part in value) + "]"
    return write(value)


class _Exact(Loader):
    def load(self, data: Buffer) -> Any:
        return json.loads(bytes(data), parse_float=Decimal)


def read_exactly(cursor: psycopg.ServerCursor[Any]) -> None:
    """Let a cursor read JSON so."""
    for kind in ("json", "jsonb"):
        cursor.adapters.register_loader(kind, _Exact)
