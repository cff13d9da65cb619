"""The rows of a seed file in each format: every row comes out as values or as a rejection.

Nothing is dropped: what cannot be kept exactly in a jsonb column is a Rejection with its reason.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from json.encoder import encode_basestring_ascii
from operator import itemgetter, methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import JSON, unique_names

if TYPE_CHECKING:
    from _csv import Reader

# The csv module buffers a field at four bytes a character: 64 MB is what a stray quote may cost.
FIELD_LIMIT = 16 * 1024 * 1024
DEPTH_LIMIT = 100
_LEARN_FROM = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that is not a company. `line` is where it starts, 1-based (Parquet: the row)."""

    line: int
    reason: str


# A row that can be kept whole: its line, as in Rejection, and its values, as Table has them. A bare
# tuple, since one is made for every row of a file.
Row: TypeAlias = tuple[int, Any]


class Table(NamedTuple):
    """The columns of a file and its rows, each read once.

    The values of a row are a dict by column. A table of text has a list of cells instead, and its
    own `pick` and `as_json`: a dict for every row cost a quarter of the time that reading takes.
    """

    names: list[str]
    rows: Iterator[Row | Rejection]
    pick: Callable[[str], Callable[[Any], JSON]] = lambda column: methodcaller("get", column)
    as_json: Callable[[Any], str] = json.dumps


def delimited_table(lines: Iterator[str], delimiter: str | None) -> Table:
    """Read CSV, header first; without a delimiter the header line tells which.

    Raises:
        BadInput: there is no header, or it cannot be read.
    """
    csv.field_size_limit(FIELD_LIMIT)
    skipped, first = _first_line(lines)
    reader = csv.reader(
        chain([first], lines), delimiter=delimiter or _delimiter(first), strict=True
    )
    try:
        header = next(reader)
    except csv.Error as error:
        reason = _csv_reason(error, 1, reader.line_num)
        raise BadInput(f"The header cannot be read: {reason}.") from error
    flaw = _text_flaw("".join(header))
    if flaw is not None:
        raise BadInput(f"The header {flaw}: if the file is UTF-16, say --encoding utf-16.")
    names = unique_names(header)
    return Table(
        names,
        _delimited_rows(reader, len(names), skipped),
        pick=lambda column: itemgetter(names.index(column)),
        as_json=texts_as_json(names),
    )


def texts_as_json(names: list[str]) -> Callable[[list[str]], str]:
    """What makes a JSON object of texts, one per name, in a third of the time of json.dumps."""
    object_ = "{" + ", ".join(json.dumps(name).replace("%", "%%") + ": %s" for name in names) + "}"
    return lambda texts: object_ % tuple(map(encode_basestring_ascii, texts))


def _first_line(lines: Iterator[str]) -> tuple[int, str]:
    for skipped, line in enumerate(lines):
        if line.strip():
            return skipped, line
    raise BadInput("The file is empty: it needs a header and at least one row.")


def _delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"?', "", header)
    return max(",;\t|", key=bare.count)


def _delimited_rows(reader: "Reader", width: int, skipped: int) -> Iterator[Row | Rejection]:
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejection(line, _csv_reason(error, line, skipped + reader.line_num))
        else:
            yield _delimited_row(line, width, cells)


def _delimited_row(line: int, width: int, cells: list[str]) -> Row | Rejection:
    text = "".join(cells)
    if not text or text.isspace():
        return Rejection(line, "empty row")
    if len(cells) != width:
        # Spreadsheets pad rows with delimiters; beyond the header only a value would be a loss.
        if len(cells) < width or any(cells[width:]):
            return Rejection(line, f"{len(cells)} fields, the header has {width}")
        del cells[width:]
    if (flaw := _text_flaw(text)) is not None:
        return Rejection(line, flaw)
    return line, cells


def _csv_reason(error: csv.Error, first: int, last: int) -> str:
    text = str(error)
    span = f" (lines {first} to {last} were read as one row)" if last > first else ""
    if "unexpected end of data" in text:
        return f"a quote that opens in this row is never closed{span}"
    if "field limit" in text:
        return f"a value is longer than {FIELD_LIMIT:,} characters, or a quote not closed{span}"
    return f"a quote inside a value, or one not closed: {text}{span}"


def json_table(lines: Iterator[str]) -> Table:
    """Read JSON lines. The columns are learned ahead from the first megabyte, then row by row.

    Raises:
        BadInput: there is no line, or not one object among the first.
    """
    ahead: list[str] = []
    size = 0
    for line in lines:
        ahead.append(line)
        size += len(line)
        if size > _LEARN_FROM:
            break
    names: list[str] = []
    bad = [each for each in _json_rows(ahead, names) if isinstance(each, Rejection)][:1]
    if not names:
        problem = f"line {bad[0].line}: {bad[0].reason}" if bad else "there is no line"
        raise BadInput(f"No JSON object was found, one a line is needed ({problem}).")
    return Table(names, _json_rows(chain(ahead, lines), names))


def _json_rows(lines: Iterable[str], names: list[str]) -> Iterator[Row | Rejection]:
    known = set(names)
    for number, line in enumerate(lines, 1):
        row = _json_row(number, line)
        if not isinstance(row, Rejection) and not known.issuperset(row[1]):
            names += [name for name in row[1] if name not in known]
            known.update(names)
        yield row


def _json_row(number: int, line: str) -> Row | Rejection:
    if not line.strip():
        return Rejection(number, "empty row")
    try:
        value = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        return Rejection(number, f"bad JSON at column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Rejection(number, f"bad JSON: {error}")
    if not isinstance(value, dict):
        return Rejection(number, "not a JSON object")
    return checked(number, value)


def checked(number: int, values: dict[str, JSON]) -> Row | Rejection:
    """The row, or its rejection when a text or the nesting in it cannot be stored."""
    if not any(value not in (None, "") for value in values.values()):
        return Rejection(number, "empty row")
    reason = flaw_in(values)
    return (number, values) if reason is None else Rejection(number, reason)


def flaw_in(value: JSON, depth: int = 0) -> str | None:
    """Why this value cannot be stored as jsonb, or None."""
    if isinstance(value, str):
        return _text_flaw(value)
    if not isinstance(value, list | dict):
        return None
    if depth > DEPTH_LIMIT:
        return f"nested more than {DEPTH_LIMIT} deep"
    parts = chain(value, value.values()) if isinstance(value, dict) else value
    for part in parts:
        if (reason := flaw_in(part, depth + 1)) is not None:
            return reason
    return None


def _text_flaw(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large a number")
    return number


def _without_repeats(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_repeats, parse_constant=_no_constant, parse_float=_finite
)
