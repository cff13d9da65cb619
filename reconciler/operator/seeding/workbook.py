"""Reads a sheet of a workbook: of Excel (.xlsx, .xls, .xlsb) or of LibreOffice (.ods).

A cell has the value that the workbook keeps, not what it shows: a number that is shown as 1.2E+07
is 12000000, text like 00123 stays text, and a formula is its last result. Dates and times become
ISO 8601 text, durations seconds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.operator.seeding.columns import JSON, unique_names
from reconciler.operator.seeding.preamble import header_row
from reconciler.operator.seeding.rows import Rejection, Row, Table, checked
from reconciler.operator.seeding.values import as_json

SAMPLE = 100  # rows in which the header is looked for
REPORT_EVERY = 1000  # rows


def workbook_table(
    stream: BinaryIO, sheet: str | None, skip: int | None, on_progress: Callable[[float], None]
) -> Table:
    """Read the sheet of that name, else the only one that has cells.

    `skip` is the number of rows before the header; None: it is found. `on_progress` gets the share
    of rows read, 0 to 1.

    Raises:
        BadInput: it is not a workbook; or no sheet, or several, may be meant; or it has no rows.
    """
    try:
        found = _sheet(CalamineWorkbook.from_filelike(stream), sheet)
    except PasswordError as error:
        raise BadInput("The workbook is encrypted: save it without a password.") from error
    except CalamineError as error:
        raise BadInput(f"This is not a readable workbook: {_reason(error)}.") from error
    rows = found.iter_rows()
    sample = list(islice(rows, SAMPLE))
    first = header_row([list(map(_name, row)) for row in sample]) if skip is None else skip
    if len(sample) <= first:
        raise BadInput(f"Sheet {found.name!r} is empty: it needs a header and at least one row.")
    names = unique_names(list(map(_name, sample[first])))
    numbered = enumerate(chain(sample[first + 1 :], rows), first + 2)
    height = found.end[0] + 1 if found.end else 1
    made = _rows(numbered, names, height, on_progress)
    return Table(names, made, skipped=first if skip is None else 0)


def _sheet(workbook: CalamineWorkbook, wanted: str | None) -> CalamineSheet:
    names = workbook.sheet_names
    if wanted is not None:
        if wanted not in names:
            near = did_you_mean(wanted, names) or f" There are {', '.join(map(repr, names))}."
            raise BadInput(f"The workbook has no sheet {wanted!r}.{near}")
        return workbook.get_sheet_by_name(wanted)
    shown = [
        each.name
        for each in workbook.sheets_metadata
        if each.visible == SheetVisibleEnum.Visible and each.typ == SheetTypeEnum.WorkSheet
    ]
    filled = [each for each in map(workbook.get_sheet_by_name, shown) if each.end]
    if len(filled) > 1:
        listed = ", ".join(repr(each.name) for each in filled)
        raise BadInput(f"The workbook has the sheets {listed}: name one with --sheet.")
    if not filled:
        raise BadInput("The workbook is empty: it needs a header and at least one row.")
    return filled[0]


def _rows(
    rows: Iterable[tuple[int, Sequence[Any]]],
    names: list[str],
    height: int,
    on_progress: Callable[[float], None],
) -> Iterator[Row | Rejection]:
    for number, cells in rows:
        yield checked(number, dict(zip(names, map(_value, cells), strict=True)))
        if number % REPORT_EVERY == 0 or number == height:
            on_progress(number / height)


def _value(cell: Any) -> JSON:
    """A cell's value: None if it is empty; a whole number without a point, as it was typed."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return None if cell == "" else as_json(cell)


def _name(cell: Any) -> str:
    value = _value(cell)
    return "" if value is None else str(value)


def _reason(error: CalamineError) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
