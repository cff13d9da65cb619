"""Reads JSON lines: one object per company; the names in the objects are the columns.

Numbers are kept as they are written: see `exact_json`.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NoReturn

from reconciler.contract.errors import BadInput
from reconciler.operator.exact_json import number
from reconciler.operator.seeding.columns import JSON
from reconciler.operator.seeding.rows import Rejection, Row, Table, checked

_AHEAD = 1024 * 1024  # characters that are read ahead to learn the columns


def json_table(lines: Iterator[str]) -> Table:
    """Read JSON lines. The columns come from the first megabyte; later rows may add more.

    Raises:
        BadInput: there is no line, or no JSON object in the first megabyte.
    """
    ahead: list[str] = []
    size = 0
    for line in lines:
        ahead.append(line)
        size += len(line)
        if size > _AHEAD:
            break
    names: list[str] = []
    bad = [each for each in _json_rows(ahead, names) if isinstance(each, Rejection)][:1]
    if not names:
        problem = f"line {bad[0].line}: {bad[0].reason}" if bad else "there is no line"
        raise BadInput(f"No JSON object was found: each line must be one ({problem}).")
    return Table(names, _json_rows(chain(ahead, lines), names), as_json=written)


def _json_rows(lines: Iterable[str], names: list[str]) -> Iterator[Row | Rejection]:
    rows = (_json_row(at, line) for at, line in enumerate(lines, 1))
    return learning(rows, names)


def learning(rows: Iterable[Row | Rejection], names: list[str]) -> Iterator[Row | Rejection]:
    """The rows; columns that they bring are added to `names`."""
    known = set(names)
    for row in rows:
        if not isinstance(row, Rejection) and not known.issuperset(row[1]):
            names += [name for name in row[1] if name not in known]
            known.update(names)
        yield row


def _json_row(at: int, line: str) -> Row | Rejection:
    if not line.strip():
        return Rejection(at, "empty row")
    try:
        value = DECODER.decode(line)
    except json.JSONDecodeError as error:
        return Rejection(at, f"bad JSON at column {error.colno}: {error.msg}", line)
    except (ValueError, RecursionError) as error:
        return Rejection(at, f"bad JSON: {error}", line)
    if not isinstance(value, dict):
        return Rejection(at, "not a JSON object", line)
    return checked(at, Written(value, line.strip()))


class Written(dict[str, JSON]):
    """An object with its text, which is kept: to write it anew takes longer than to read it."""

    __slots__ = ("text",)

    def __init__(self, values: dict[str, JSON], text: str) -> None:
        super().__init__(values)
        self.text = text


def written(row: Written) -> str:
    """The text of an object."""
    return row.text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _without_repeats(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values


DECODER = json.JSONDecoder(
    object_pairs_hook=_without_repeats, parse_constant=_no_constant, parse_float=number
)
