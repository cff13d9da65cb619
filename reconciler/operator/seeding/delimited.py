"""Reads CSV and TSV: a header line, then one row of cells per company."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import TYPE_CHECKING

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.seeding.rows import Rejection, Row, Table, text_flaw
from reconciler.operator.wording import plural

if TYPE_CHECKING:
    from _csv import Reader

# After a stray quote, the rest of the file is one field. The csv module buffers a field at four
# bytes a character, so this limit is 64 MB.
FIELD_LIMIT = 16 * 1024 * 1024


def delimited_table(lines: Iterator[str], delimiter: str | None) -> Table:
    """Read CSV, header first; without `delimiter`, the header line decides between `,` `;` tab `|`.

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
    flaw = text_flaw("".join(header))
    if flaw is not None:
        raise BadInput(f"The header {flaw}: if the file is UTF-16, add --encoding utf-16.")
    names = unique_names(header)
    return Table(
        names,
        _delimited_rows(reader, len(names), skipped),
        pick=lambda column: itemgetter(names.index(column)),
        as_json=texts_as_json(names),
    )


def texts_as_json(names: list[str]) -> Callable[[list[str]], str]:
    """A function from the cells of a row to a JSON object; takes a third of json.dumps's time."""
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
        # Spreadsheets pad rows with delimiters. Cells beyond the header are dropped only if empty.
        if len(cells) < width or any(cells[width:]):
            return Rejection(
                line, f"{plural(len(cells), 'field', 'fields')}, the header has {width}"
            )
        del cells[width:]
    if (flaw := text_flaw(text)) is not None:
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
