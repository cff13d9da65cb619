"""Reads a seed file into records, one at a time: CSV, TSV, JSON, JSON lines, Parquet or Excel.

Columns may have any order and common names. Each row becomes a company with a key, or a rejection
with its line and reason. Every column of the file is kept.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from reconciler.contract.errors import BadInput
from reconciler.operator.remote import file_name
from reconciler.operator.seeding.columns import Columns, map_columns
from reconciler.operator.seeding.delimited import delimited_table
from reconciler.operator.seeding.dialect import Dialect, Quotes, dialect
from reconciler.operator.seeding.identity import Identity
from reconciler.operator.seeding.json_document import document_table
from reconciler.operator.seeding.json_lines import json_table
from reconciler.operator.seeding.packed import SUFFIXES, ZIP, bare_name
from reconciler.operator.seeding.rows import Rejection, Table
from reconciler.operator.seeding.shared_hosts import shared_hosts
from reconciler.operator.seeding.source import Source
from reconciler.operator.seeding.text import check_encoding, lines_in

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "xlsx")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xlsb": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
}


class Record(NamedTuple):
    """A company in the file. `line` is the line where its row starts (Parquet: the row's number).

    `domain` is the company's own host in its one form; the cell is among the attributes.
    `attributes` is the whole row as the text of a JSON object.
    """

    line: int
    key: str
    name: str | None
    domain: str | None
    attributes: str


class SeedFile:
    """An open seed file: iterate once over its records and rejections, in the file's order.

    Iterating raises BadInput if the file is damaged.
    """

    def __init__(self, source: Source, columns: Columns, table: Table, identity: Identity) -> None:
        self.columns = columns
        self.identity = identity
        self._source = source
        self._table = table

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[Record | Rejection]:
        return records(self._table, self.identity)

    @property
    def name(self) -> str:
        """The file's name without its folder, `-` for standard input."""
        return "-" if self._source.is_stdin else file_name(self._source.name)

    @property
    def lines_skipped(self) -> int:
        """The lines before the header that were passed over."""
        return self._table.skipped

    @property
    def bytes_total(self) -> int | None:
        """The size of the file in bytes, None for a pipe."""
        return self._source.size

    @property
    def bytes_read(self) -> int:
        """The bytes read so far: up to one block more than the last record needed."""
        return self._source.read


def batch_name(path: str) -> str:
    """The name of a file's batch: the file's own, without suffixes."""
    return "stdin" if path == "-" else Path(bare_name(file_name(path))).stem


def open_seed_file(
    path: str,
    *,
    mapping: Mapping[str, str],
    key: str | None,
    format: str | None = None,
    encoding: str = "utf-8",
    shared: str | None = None,
    system: str | None = None,
    delimiter: str | None = None,
    quotes: str = Quotes.DOUBLED,
    skip_lines: int | None = None,
    sheet: str | None = None,
) -> SeedFile:
    """Open a file, a URL, or standard input for "-"; find its columns and read its first row.

    Args:
        path: the file. Its suffix gives the format; for a pipe, the first bytes do.
        mapping: the column of a field (key, name, domain); wins over the columns' names.
        key: the column of the key, or several in the order in which they are tried; the same as
            `mapping={"key": …}`.
        format: one of FORMATS; wins over suffix and bytes.
        shared: a file with more hosts that many companies share.
        system: where the values of key columns come from; one system's 1 is not another's.
        encoding: of the text; a byte order mark is dropped. Not used for Parquet and workbooks.
        delimiter: of CSV; the file's own first lines give it otherwise.
        quotes: how a quote inside a value is written in CSV: see `Quotes`.
        skip_lines: the lines before the header; otherwise they are found.
        sheet: the workbook's sheet; needed if several have cells.

    Raises:
        BadInput: no such file, format, encoding or column; no rows; text in another encoding.
    """
    check_encoding(encoding)
    hosts = shared_hosts(shared)
    wanted = dialect(delimiter, quotes, skip_lines)
    source = Source(path)
    try:
        kind = format or _format_of(source)
        if sheet is not None and kind != "xlsx":
            raise BadInput(f"{source.name} is no workbook, so it has no sheets: leave --sheet out.")
        table = _table(source, kind, encoding, wanted, sheet)
        columns = map_columns(table.names, mapping, key)
        first = next(table.rows, None)
        if first is None:
            raise BadInput(f"{source.name} has columns but no rows.")
    except BaseException:
        source.close()
        raise
    identity = Identity(columns, table.pick, hosts, system)
    return SeedFile(source, columns, table._replace(rows=chain([first], table.rows)), identity)


def _format_of(source: Source) -> str:
    suffix = Path(source.content).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if not (source.is_pipe or source.is_packed):
        known = ", ".join(_SUFFIXES)
        raise BadInput(
            f"{source.name}: the suffix does not name a format. Known are {known}, each also with "
            f"{', '.join(SUFFIXES)} behind it; or add --format with one of {', '.join(FORMATS)}."
        )
    if source.head.startswith(b"PAR1"):
        return "parquet"
    if source.head.startswith((ZIP, b"\xd0\xcf\x11\xe0")):
        return "xlsx"
    start = source.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return "json"
    return "jsonl" if start.startswith(b"{") else "csv"


def _table(source: Source, format: str, encoding: str, wanted: Dialect, sheet: str | None) -> Table:
    # pyarrow takes a quarter of a second to import, and most seed files are text.
    if format == "parquet":
        from reconciler.operator.seeding.parquet import parquet_table

        return parquet_table(source.seekable(), source.set_progress)
    if format == "xlsx":
        from reconciler.operator.seeding.workbook import workbook_table

        return workbook_table(source.seekable(), sheet, wanted.skip, source.set_progress)
    lines = chain.from_iterable(lines_in(source, encoding))
    if format == "jsonl":
        return json_table(lines)
    if format == "json":
        return document_table(lines)
    if format in FORMATS:
        tab = "\t" if format == "tsv" else None
        return delimited_table(lines, wanted._replace(delimiter=wanted.delimiter or tab))
    raise BadInput(f"No format is called {format!r}: use {', '.join(FORMATS)}.")


def records(table: Table, identity: Identity) -> Iterator[Record | Rejection]:
    """Make a record of each row; a row that nothing identifies becomes a rejection."""
    for row in table.rows:
        if isinstance(row, Rejection):
            yield row
            continue
        line, values = row
        who = identity.of(values)
        if isinstance(who, str):
            yield Rejection(line, who, values)
        else:
            yield Record(line, *who, table.as_json(values))
