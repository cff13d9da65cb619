"""Writes a batch's companies with their results to a file: streamed; flat or nested."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from types import SimpleNamespace
from typing import Any, BinaryIO, TypeAlias

from psycopg import sql
from sqlalchemy import Boolean, Float, Integer, Table

from reconciler.contract.database import Row
from reconciler.operator.batch import BatchView
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.store import OperatorStore

# A step (None: the input file) and a column. For a step, column None is its status; (None, None) is
# the key.
Source: TypeAlias = "tuple[str | None, str | None]"
Columns: TypeAlias = Mapping[str, Source]
Tables: TypeAlias = Mapping[str, Table]  # each step's domain table

WRITTEN_BY_US = {"company_id"}
CRLF = "\r\n"
EXPORT_ROWS = 2000  # fetched at a time
PARQUET_ROWS = 10_000  # rows of a row group; one group is held in memory

# {results} joins the domain tables of the batch's steps, {fields} lists what is read from them.
# The input is that of the batch's own file; another file may have changed the company since.
EXPORT = """
SELECT c.key, CASE WHEN m.attributes IS NULL THEN c.name ELSE m.name END AS name,
    CASE WHEN m.attributes IS NULL THEN c.domain ELSE m.domain END AS domain,
    coalesce(m.attributes, c.attributes) AS attributes{fields}
FROM batch_companies m
JOIN companies c ON c.id = m.company_id
{results}
WHERE m.batch_id = %(batch_id)s
ORDER BY c.id
"""
EXPORT_FIELDS = ", {state}.status AS {status_name}, row_to_json({result}.*) AS {result_name}"
EXPORT_JOIN = """
LEFT JOIN workflow_states {state}
    ON {state}.company_id = c.id AND {state}.batch_id = m.batch_id AND {state}.step_name = {step}
LEFT JOIN {table} {result} ON {result}.company_id = c.id AND {state}.status = 'COMPLETED'
"""


class Format(StrEnum):
    """The format of an export: flat rows in CSV and Parquet, nested ones in JSON lines."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def write_batch(
    store: OperatorStore, batch: BatchView, tables: Tables, format_: Format, file: BinaryIO
) -> int:
    """Write the batch's companies to `file`; returns their number."""
    rows = read_companies(store, batch, tables)
    if format_ is Format.JSONL:
        return _write_jsonl(file, rows, tables)
    write = _write_csv if format_ is Format.CSV else _write_parquet
    return write(file, rows, columns_of(batch, tables), tables)


def flat_rows(store: OperatorStore, batch: BatchView, tables: Tables) -> Iterator[Row]:
    """The batch's companies in their flat form, streamed: a value per column of `columns_of`."""
    columns = columns_of(batch, tables)
    for row in read_companies(store, batch, tables):
        yield {name: value(row, source) for name, source in columns.items()}


def read_companies(store: OperatorStore, batch: BatchView, tables: Tables) -> Iterator[Row]:
    """One row per company of the batch, streamed.

    Each has key, name, domain, attributes, and per step `STEP.status` and `STEP.result`.
    """
    parts = [_step_sql(n, step, tables[step]) for n, step in enumerate(batch.blueprint)]
    query = sql.SQL(EXPORT).format(
        fields=sql.SQL("").join(fields for fields, _ in parts),
        results=sql.SQL("").join(join for _, join in parts),
    )
    with store.transaction() as connection, connection.cursor("export") as cursor:
        cursor.itersize = EXPORT_ROWS
        cursor.execute(query, {"batch_id": batch.id})
        yield from cursor


def _step_sql(number: int, step: str, table: Table) -> tuple[sql.Composed, sql.Composed]:
    """A step's part of EXPORT: its fields, and its join."""
    state, result = sql.Identifier(f"s{number}"), sql.Identifier(f"r{number}")
    fields = sql.SQL(EXPORT_FIELDS).format(
        state=state,
        result=result,
        status_name=sql.Identifier(f"{step}.status"),
        result_name=sql.Identifier(f"{step}.result"),
    )
    domain_table = sql.Identifier(str(table.schema), table.name)
    join = sql.SQL(EXPORT_JOIN).format(
        state=state, result=result, step=sql.Literal(step), table=domain_table
    )
    return fields, join


def columns_of(batch: BatchView, tables: Tables) -> dict[str, Source]:
    """The columns of the flat form, each name once, with their sources.

    They are: key, the input's columns, and per step `STEP.status` and `STEP.COLUMN`. An input
    column whose name is taken gets a number: `key_2`.
    """
    results: list[Source] = []
    for step, table in tables.items():
        names = [c.name for c in table.columns if c.name not in WRITTEN_BY_US]
        results += [(step, None), *((step, name) for name in names)]
    of_results = [f"{step}.{column or 'status'}" for step, column in results]
    names = unique_names(["key", *of_results, *batch.columns])
    sources = [(None, None), *results, *((None, column) for column in batch.columns)]
    by_name, ours = dict(zip(names, sources, strict=True)), 1 + len(results)
    return {name: by_name[name] for name in (names[0], *names[ours:], *names[1:ours])}


def value(row: Row, source: Source) -> Any:
    """A company's value from this source."""
    match source:
        case (None, None):
            return row["key"]
        case (None, column):
            return row["attributes"].get(column)
        case (step, None):
            return row[f"{step}.status"]
        case (step, column):
            return (row[f"{step}.result"] or {}).get(column)


def _write_csv(file: BinaryIO, rows: Iterable[Row], columns: Columns, _: Tables) -> int:
    # With CRLF as line end, the csv module quotes cells that contain CR or LF. The file gets LF.
    lines = SimpleNamespace(write=lambda line: file.write(f"{line.removesuffix(CRLF)}\n".encode()))
    writer = csv.writer(lines, lineterminator=CRLF)
    writer.writerow(columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted
        cells = (value(row, source) for source in columns.values())
        writer.writerow(_text(cell) if isinstance(cell, dict | list) else cell for cell in cells)
    return count


def _write_jsonl(file: BinaryIO, rows: Iterable[Row], tables: Tables) -> int:
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted
        steps = {s: {"status": row[f"{s}.status"], "result": row[f"{s}.result"]} for s in tables}
        given = {name: row[name] for name in ("key", "name", "domain", "attributes")}
        file.write(json.dumps({**given, "steps": steps}, ensure_ascii=False).encode() + b"\n")
    return count


def _write_parquet(file: BinaryIO, rows: Iterable[Row], columns: Columns, tables: Tables) -> int:
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
    if step is None or column is None:
        return "string"
    column_type = tables[step].columns[column].type
    kinds = ((Boolean, "bool"), (Integer, "int64"), (Float, "float64"))
    return next((kind for sql, kind in kinds if isinstance(column_type, sql)), "string")


def _typed(cell: Any, kind: str) -> Any:
    return _text(cell) if kind == "string" else cell


def _text(cell: Any) -> str | None:
    """A cell as text: a value that is not text is written as JSON."""
    if cell is None or isinstance(cell, str):
        return cell
    return json.dumps(cell, ensure_ascii=False)
