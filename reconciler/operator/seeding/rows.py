"""A row of a seed file in any format: its values, or a rejection with its reason.

Nothing is lost without a word: a row that jsonb cannot keep exactly becomes a Rejection.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import methodcaller
from typing import Any, NamedTuple, TypeAlias

from reconciler.operator.seeding.columns import JSON

DEPTH_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not used. `line` is where it starts, from 1 (Parquet: the row's number).

    `row` is what the file has there: its values as in `Table`, or text that could not be read.
    """

    line: int
    reason: str
    row: Any = field(default=None, compare=False, repr=False)


# A usable row: its line, as in Rejection, and its values, as in Table. A bare tuple is cheaper than
# an object, and one is made for every row of a file.
Row: TypeAlias = tuple[int, Any]


class Table(NamedTuple):
    """The columns of a file, and its rows, which can be read once.

    The values of a row are a dict by column. A table of text has a list of cells instead, with its
    own `pick` and `as_json`: a dict for every row cost a quarter of the reading time. `skipped` is
    the number of lines before the header, if they were found and passed over.
    """

    names: list[str]
    rows: Iterator[Row | Rejection]
    pick: Callable[[str], Callable[[Any], JSON]] = lambda column: methodcaller("get", column)
    as_json: Callable[[Any], str] = json.dumps
    skipped: int = 0


def checked(number: int, values: dict[str, JSON]) -> Row | Rejection:
    """The row, or its rejection if it is empty or jsonb cannot store it."""
    if not any(value not in (None, "") for value in values.values()):
        return Rejection(number, "empty row", values)
    reason = flaw_in(values)
    return (number, values) if reason is None else Rejection(number, reason, values)


def flaw_in(value: JSON, depth: int = 0) -> str | None:
    """Why jsonb cannot store this value, or None."""
    if isinstance(value, str):
        return text_flaw(value)
    if not isinstance(value, list | dict):
        return None
    if depth > DEPTH_LIMIT:
        return f"nested more than {DEPTH_LIMIT} deep"
    parts = chain(value, value.values()) if isinstance(value, dict) else value
    for part in parts:
        if (reason := flaw_in(part, depth + 1)) is not None:
            return reason
    return None


def text_flaw(text: str) -> str | None:
    """Why Postgres cannot store this text, or None."""
    if "\0" in text:
        return "holds a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character"
    return None
