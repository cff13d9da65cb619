"""Reads CSV and TSV: a header line, then one row of cells per company."""

import csv
import json
from collections.abc import Callable, Iterator
from itertools import chain
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import TYPE_CHECKING

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.seeding.dialect import (
    Dialect,
    Quotes,
    Start,
    find_start,
    quoted_lines,
    repaired,
    rule,
)
from reconciler.operator.seeding.rows import Rejection, Row, Table, text_flaw
from reconciler.operator.wording import plural

if TYPE_CHECKING:
    from _csv import Reader

# After a stray quote, the rest of the file is one field. The csv module buffers a field at four
# bytes a character, so this limit is 64 MB.
FIELD_LIMIT = 16 * 1024 * 1024
csv.field_size_limit(FIELD_LIMIT)


def delimited_table(lines: Iterator[str], wanted: Dialect) -> Table:
    """Read CSV, header first; what `wanted` leaves open is found in the first lines.

    Raises:
        BadInput: there is no header, or it cannot be read.
    """
    start = find_start(lines, wanted)
    rows = CsvRows(chain(start.lines, lines), wanted.quotes, start)
    header = rows.header()
    flaw = text_flaw("".join(header))
    if flaw is not None:
        raise BadInput(f"The header {flaw}: if the file is UTF-16, add --encoding utf-16.")
    names = unique_names(header)
    return Table(
        names,
        rows.below(len(names)),
        pick=lambda column: itemgetter(names.index(column)),
        as_json=texts_as_json(names),
        skipped=start.found,
    )


def texts_as_json(names: list[str]) -> Callable[[list[str]], str]:
    """A function from the cells of a row to a JSON object; takes a third of json.dumps's time."""
    object_ = "{" + ", ".join(json.dumps(name).replace("%", "%%") + ": %s" for name in names) + "}"
    return lambda texts: object_ % tuple(map(encode_basestring_ascii, texts))


class CsvRows:
    """The rows of a file. It remembers the lines of the row that is read, to repair that row."""

    def __init__(self, lines: Iterator[str], quotes: Quotes, start: Start) -> None:
        self._lines = lines
        self._delimiter = start.delimiter
        self._repairs = quotes is Quotes.DOUBLED
        self._skipped = start.skipped
        self._taken: list[str] = []
        self._reader: Reader = csv.reader(
            quoted_lines(self._remembered(), quotes),
            delimiter=start.delimiter,
            quoting=rule(quotes),
            strict=True,
        )

    def _remembered(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def header(self) -> list[str]:
        """The first row.

        Raises:
            BadInput: it cannot be read.
        """
        try:
            return next(self._reader)
        except csv.Error as error:
            reason = _csv_reason(error, 1, self._reader.line_num)
            raise BadInput(f"The header cannot be read: {reason}.") from error

    def below(self, width: int) -> Iterator[Row | Rejection]:
        """All other rows; one that is no CSV is repaired where it is plain what is meant."""
        while True:
            line = self._skipped + self._reader.line_num + 1
            self._taken.clear()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = _csv_reason(error, line, self._skipped + self._reader.line_num)
                yield from self._repaired(line, width, Rejection(line, reason, self._text()))
            else:
                row = _delimited_row(line, width, cells)
                torn = isinstance(row, Rejection) and len(self._taken) > 1
                yield from self._repaired(line, width, row) if torn else (row,)

    def _repaired(self, line: int, width: int, found: Row | Rejection) -> Iterator[Row | Rejection]:
        rows = repaired(self._taken, self._delimiter, width) if self._repairs else None
        if rows is None:
            yield found
            return
        for place, cells in rows:
            yield _delimited_row(line + place, width, cells)

    def _text(self) -> str:
        return "".join(self._taken).rstrip("\r\n")


def _delimited_row(line: int, width: int, cells: list[str]) -> Row | Rejection:
    text = "".join(cells)
    if not text or text.isspace():
        return Rejection(line, "empty row", cells)
    if len(cells) != width:
        # Spreadsheets pad rows with delimiters. Cells beyond the header are dropped only if empty.
        if len(cells) < width or any(cells[width:]):
            reason = f"{plural(len(cells), 'field', 'fields')}, the header has {width}"
            return Rejection(line, reason, cells)
        del cells[width:]
    if (flaw := text_flaw(text)) is not None:
        return Rejection(line, flaw, cells)
    return line, cells


def _csv_reason(error: csv.Error, first: int, last: int) -> str:
    text = str(error)
    span = f" (lines {first} to {last} were read as one row)" if last > first else ""
    if "unexpected end of data" in text:
        return f"a quote that opens in this row is never closed{span}"
    if "field limit" in text:
        return f"a value is longer than {FIELD_LIMIT:,} characters, or a quote not closed{span}"
    return f"a quote inside a value, or one not closed: {text}{span}; see --quotes"
