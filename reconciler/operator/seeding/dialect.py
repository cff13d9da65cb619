"""How a file of CSV is written: its delimiter, its header's place, and its quotes."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import islice
from typing import Literal, NamedTuple

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.preamble import header_row

DELIMITERS = ",;\t|"
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
SAMPLE_LINES = 200
SAMPLE_CHARS = 256 * 1024
# Excel's own line before the header: it names the delimiter.
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
# A quote that a backslash escapes: before it, backslashes come in pairs.
_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
# A quote that is never closed takes in the rows after it: 127 of them took in 8,318 of a list's
# 886,323 rows. Where rows have fewer cells, the lines may be those of a long text as well.
SURE_WIDTH = 3


class Quotes(StrEnum):
    """How a quote inside a value is written."""

    DOUBLED = "doubled"
    BACKSLASH = "backslash"
    NONE = "none"


class Dialect(NamedTuple):
    """How a file is written; None: it is found in the file."""

    delimiter: str | None = None
    quotes: Quotes = Quotes.DOUBLED
    skip: int | None = None


def dialect(delimiter: str | None, quotes: str, skip: int | None) -> Dialect:
    """The dialect that options name.

    Raises:
        BadInput: the delimiter is not one character, or quotes are never written so.
    """
    if delimiter is not None:
        delimiter = _NAMED.get(delimiter.casefold(), delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise BadInput(
                f"--delimiter {delimiter!r}: give one character, or one of {', '.join(_NAMED)}."
            )
    if quotes not in list(Quotes):
        raise BadInput(f"--quotes {quotes!r}: use {', '.join(Quotes)}.")
    return Dialect(delimiter, Quotes(quotes), skip)


class Start(NamedTuple):
    """The beginning of a file: its header is after `skipped` lines.

    `found` says how many there are if they are more than blank, and no option has named them.
    """

    lines: list[str]  # those that were read so far, from the header on
    skipped: int
    delimiter: str
    found: int


def find_start(lines: Iterator[str], wanted: Dialect) -> Start:
    """Read the first lines, and find the delimiter and the header in them.

    Raises:
        BadInput: there is no header.
    """
    skipped = sum(1 for _ in islice(lines, wanted.skip or 0))
    sample: list[str] = []
    chars = 0
    for line in lines:
        sample.append(line)
        chars += len(line)
        if len(sample) >= SAMPLE_LINES or chars >= SAMPLE_CHARS:
            break
    named = _SEP.fullmatch(sample[0]) if sample else None
    before = _first_line(sample, 1 if named else 0)
    given = wanted.delimiter or (named and named[1])
    delimiter = given or _delimiter(sample[before:], wanted.quotes)
    preamble = 0
    if wanted.skip is None:
        preamble = _lines_before_header(sample[before:], delimiter, wanted.quotes)
        before = _first_line(sample, before + preamble)
    return Start(sample[before:], skipped + before, delimiter, before if preamble else 0)


def _first_line(sample: Sequence[str], start: int) -> int:
    """The place of the first line from `start` on that is not blank."""
    for place in range(start, len(sample)):
        if sample[place].strip():
            return place
    raise BadInput("The file is empty: it needs a header and at least one row.")


def _delimiter(sample: Sequence[str], quotes: Quotes) -> str:
    """The one that gives most rows the same number of fields, and seldom stands in prose."""

    def score(delimiter: str) -> tuple[float, float, int]:
        rows = [row for row, _ in _rows(sample, delimiter, quotes)]
        width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width == 1:
            return 0.0, 0.0, 0
        cells = [cell for row in rows for cell in row[1:]]
        prose = sum(cell.startswith(" ") for cell in cells) / len(cells)
        return times / len(rows), -prose, width

    return max(DELIMITERS, key=score)


def _lines_before_header(sample: Sequence[str], delimiter: str, quotes: Quotes) -> int:
    rows = _rows(sample, delimiter, quotes)
    before = header_row([row for row, _ in rows])
    return rows[before - 1][1] if before else 0


def _rows(sample: Sequence[str], delimiter: str, quotes: Quotes) -> list[tuple[list[str], int]]:
    """The rows of the sample, and the number of lines up to the end of each.

    The last of several is left out: the sample may end inside of it.
    """
    lines = quoted_lines(iter(sample), quotes)
    reader = csv.reader(lines, delimiter=delimiter, quoting=rule(quotes))
    rows = []
    with suppress(csv.Error):  # a field that is too long: the rows before it are enough
        rows = [(row, reader.line_num) for row in reader if row]
    return rows[:-1] if len(rows) > 2 else rows


def rule(quotes: Quotes) -> Literal[0, 3]:
    """The csv module's word for it."""
    return csv.QUOTE_NONE if quotes is Quotes.NONE else csv.QUOTE_MINIMAL


def quoted_lines(lines: Iterator[str], quotes: Quotes) -> Iterator[str]:
    """The lines as the csv module reads them: a quote that a backslash escapes is doubled.

    Other backslashes stay: a path like C:\\new is more frequent than an escaped n.
    """
    return map(_doubled, lines) if quotes is Quotes.BACKSLASH else lines


def _doubled(line: str) -> str:
    return _ESCAPED.sub(r'\1""', line) if '\\"' in line else line


def repaired(
    lines: Sequence[str], delimiter: str, width: int
) -> list[tuple[int, list[str]]] | None:
    """The rows of lines that are no CSV, where it is plain what they mean; else None.

    It is plain if every row gets as many fields as the header has: with backslashes that escape
    quotes; or each line alone, with quotes that are parts of values. Returns each row with the
    place of its first line.
    """
    if any('\\"' in line for line in lines):
        rows = _with_backslashes(lines, delimiter)
        return rows if rows and all(len(cells) == width for _, cells in rows) else None
    if len(lines) > 1 and width < SURE_WIDTH:
        return None
    found = [_line(line.rstrip("\r\n"), delimiter, width) for line in lines]
    if any(cells is None for cells in found):
        return None
    return [(place, cells) for place, cells in enumerate(found) if cells is not None]


def _with_backslashes(lines: Sequence[str], delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(map(_doubled, lines), delimiter=delimiter, strict=True)
    rows, first = [], 0
    try:
        for cells in reader:
            rows.append((first, cells))
            first = reader.line_num
    except csv.Error:
        return []
    return rows


def _line(line: str, delimiter: str, width: int) -> list[str] | None:
    """The cells of a line that is a row of its own; a blank one has none."""
    if not line.strip():
        return []
    for cells in (_as_csv(line, delimiter), _cells(line, delimiter), line.split(delimiter)):
        if len(cells) == width:
            return cells
    return None


def _as_csv(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return []


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line in which a quote ends a value only before a delimiter; [] if none can."""
    cells: list[str] = []
    place = 0
    while place <= len(line):
        if line.startswith('"', place):
            inner = line.find(f'"{delimiter}', place + 1)
            end = inner if inner >= 0 else len(line) - 1
            if end <= place or line[end] != '"':
                return []
            cells.append(line[place + 1 : end].replace('""', '"'))
            place = end + 2
        else:
            found = line.find(delimiter, place)
            end = found if found >= 0 else len(line)
            cells.append(line[place:end])
            place = end + 1
    return cells
