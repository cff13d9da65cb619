"""Writes the companies of an export as CSV, JSON lines, Parquet or a workbook."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from types import SimpleNamespace
from typing import Any, BinaryIO

from sqlalchemy import Boolean, Float, Integer

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.operator.exact_json import dumps
from reconciler.operator.export import ORIGINS, Columns, Source, Tables, value

CRLF = "\r\n"
BOM = b"\xef\xbb\xbf"
PARQUET_ROWS = 10_000  # rows of a row group; one group is held in memory
# What a spreadsheet takes for a formula, in its first character; and the numbers among that.
FORMULA = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?%?|-")
SHEET_ROWS, SHEET_COLUMNS, CELL_CHARS = 1_048_576, 16_384, 32_767  # Excel's limits
DIGITS = 15  # of Excel's numbers


class Format(StrEnum):
    """The format of an export: flat rows, or nested ones in JSON lines."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


SUFFIXES = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".xlsx": Format.XLSX,
}


@dataclass(frozen=True)
class Writing:
    """How an export is written. `errors`: with the error of each step. `sources`: with where each
    result is from."""

    format: Format = Format.CSV
    safe: bool = False
    bom: bool = False
    errors: bool = False
    sources: bool = False

    def __post_init__(self) -> None:
        """Refuse an option that is for another format.

        Raises:
            BadInput: an option is for CSV, and this is another format.
        """
        if self.format is not Format.CSV and (self.safe or self.bom):
            option = "--safe" if self.safe else "--bom"
            raise BadInput(f"{option} is for CSV, and this is {self.format}: leave it out.")

    def write(self, file: BinaryIO, rows: Iterable[Row], columns: Columns, tables: Tables) -> int:
        """Write the rows; returns their number.

        Raises:
            BadInput: the format cannot hold so much.
        """
        if self.format is Format.CSV:
            return write_csv(file, rows, columns, safe=self.safe, bom=self.bom)
        if self.format is Format.JSONL:
            optional = {"error": self.errors, "source": self.sources}
            return write_jsonl(file, rows, tables, [name for name, on in optional.items() if on])
        if self.format is Format.PARQUET:
            return write_parquet(file, rows, columns, tables)
        return write_xlsx(file, rows, columns)


def write_csv(
    file: BinaryIO, rows: Iterable[Row], columns: Columns, *, safe: bool = False, bom: bool = False
) -> int:
    """Write rows as CSV; returns their number. `safe`: no cell is a formula for a spreadsheet."""
    if bom:
        file.write(BOM)
    # With CRLF as line end, the csv module quotes cells that contain CR or LF. The file gets LF.
    lines = SimpleNamespace(write=lambda line: file.write(f"{line.removesuffix(CRLF)}\n".encode()))
    writer = csv.writer(lines, lineterminator=CRLF)
    writer.writerow(map(no_formula, columns) if safe else columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted
        cells = (_flat(value(row, source)) for source in columns.values())
        writer.writerow(map(no_formula, cells) if safe else cells)
    return count


def no_formula(cell: Any) -> Any:
    """The cell with a ' before it if a spreadsheet would take it for a formula."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def write_jsonl(
    file: BinaryIO, rows: Iterable[Row], steps: Iterable[str], also: Sequence[str] = ()
) -> int:
    """Write rows as JSON lines, nested; returns their number. `also`: see `read_companies`."""
    kept = ("status", "result", *also)
    steps, count = list(steps), 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted
        of_steps = {step: {name: row[f"{step}.{name}"] for name in kept} for step in steps}
        given = {name: row[name] for name in ("key", "name", "domain", "attributes")}
        line = dumps({**given, "steps": of_steps}, ensure_ascii=False)
        file.write(f"{line}\n".encode())
    return count


def write_parquet(file: BinaryIO, rows: Iterable[Row], columns: Columns, tables: Tables) -> int:
    """Write rows as Parquet; returns their number."""
    import pyarrow as arrow  # takes 0.25 s, and the other formats do not need it
    from pyarrow import parquet

    kinds = {name: _kind(tables, source) for name, source in columns.items()}
    schema = arrow.schema([arrow.field(name, kind) for name, kind in kinds.items()])
    count, rows = 0, iter(rows)
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, PARQUET_ROWS)):
            found = [
                {n: _typed(value(row, columns[n]), kinds[n]) for n in columns} for row in group
            ]
            writer.write_table(arrow.Table.from_pylist(found, schema))
            count += len(group)
    return count


def _kind(tables: Tables, source: Source) -> str:
    """Arrow's type of a column: bool, int64 or float64 for such results, else string."""
    step, column = source
    if step is None or not column or column in ORIGINS:
        return "string"
    column_type = tables[step].columns[column].type
    kinds = ((Boolean, "bool"), (Integer, "int64"), (Float, "float64"))
    return next((kind for sql, kind in kinds if isinstance(column_type, sql)), "string")


def _typed(cell: Any, kind: str) -> Any:
    if cell is None or isinstance(cell, str):
        return cell
    if kind != "string":
        return float(cell) if kind == "float64" else cell
    return dumps(cell, ensure_ascii=False)


def _flat(cell: Any) -> Any:
    """A cell as it is; a list or an object as JSON."""
    return dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list) else cell


def write_xlsx(file: BinaryIO, rows: Iterable[Row], columns: Columns) -> int:
    """Write rows as a workbook of one sheet; returns their number.

    Text stays text, whatever it looks like: no cell is a formula or a link.

    Raises:
        BadInput: a sheet cannot hold so much.
    """
    from xlsxwriter import Workbook

    if len(columns) > SHEET_COLUMNS:
        raise BadInput(f"A sheet has {SHEET_COLUMNS:,} columns at most: export as CSV.")
    count = 0
    with Workbook(file, {"constant_memory": True}) as workbook:  # row by row, in a temporary file
        sheet = workbook.add_worksheet("Companies")
        _write_row(sheet, 0, list(columns), columns)
        for count, row in enumerate(rows, 1):
            if count >= SHEET_ROWS:
                raise BadInput(f"A sheet has {SHEET_ROWS:,} rows at most: export as CSV.")
            _write_row(sheet, count, [value(row, source) for source in columns.values()], columns)
    return count


def _is_number(cell: Any) -> bool:
    """Whether Excel can keep this number as it is."""
    if isinstance(cell, int | Decimal):
        return len(Decimal(cell).normalize().as_tuple().digits) <= DIGITS
    return isinstance(cell, float)


def _write_row(sheet: Any, number: int, cells: Sequence[Any], columns: Columns) -> None:
    for place, (name, cell) in enumerate(zip(columns, cells, strict=True)):
        if isinstance(cell, bool):
            sheet.write_boolean(number, place, cell)
        elif _is_number(cell):
            sheet.write_number(number, place, float(cell))
        elif cell is not None:
            text = cell if isinstance(cell, str) else dumps(cell, ensure_ascii=False)
            if len(text) > CELL_CHARS:
                raise BadInput(
                    f"A cell of a sheet has {CELL_CHARS:,} characters at most, and {name!r} of row "
                    f"{number} has {len(text):,}: export as CSV."
                )
            sheet.write_string(number, place, text)
