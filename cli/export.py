"""`tracer export`: the input's columns and every step's results, a row per company."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeAlias

import typer
from sqlalchemy import Boolean, Float, Integer, Table

from cli.output_file import STDOUT, opened
from cli.render import BatchName, say
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings
from reconciler.operator.batch import BatchView
from reconciler.operator.connect import operator
from reconciler.operator.export import export_rows
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.store import OperatorStore
from workers.runtime.loading import load_steps

Place: TypeAlias = "tuple[str | None, str | None]"  # a step (None: the input), and its column

WRITTEN_BY_US = {"company_id"}
CRLF = "\r\n"
PARQUET_ROWS = 10_000  # per row group, which is what is held in memory


class Format(StrEnum):
    """What `--format` takes."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    batch: BatchName,
    format_: Annotated[Format, typer.Option("--format")] = Format.CSV,
    output: Annotated[Path, typer.Option("--output", "-o", help="A file; `-` is stdout.")] = STDOUT,
) -> None:
    """Write a batch's companies with their results as CSV, JSON lines or Parquet."""
    with operator() as store:
        found = store.batch(batch)
        tables = result_tables(found)
        rows = export_rows(store, found, places(tables))
        with opened(output) as file:
            count = WRITERS[format_](file, rows, found, tables)
    say(f"{count} companies exported.")


def flat_rows(store: OperatorStore, batch: BatchView) -> Iterator[dict[str, Any]]:
    """The flat form of a batch's companies, streamed."""
    tables = result_tables(batch)
    columns = columns_of(batch, tables)
    for row in export_rows(store, batch, places(tables)):
        yield {name: value(row, place) for name, place in columns.items()}


def places(tables: dict[str, Table]) -> dict[str, tuple[str, str]]:
    """(schema, table) per step."""
    return {step: (str(table.schema), table.name) for step, table in tables.items()}


def result_tables(batch: BatchView) -> dict[str, Table]:
    """The domain table of each step of the blueprint.

    Raises:
        BadInput: the code of a step is not here, so its table is not known.
    """
    steps = load_steps()
    missing = [step for step in batch.blueprint if step not in steps]
    if missing:
        raise BadInput(
            f"There is no {', '.join(missing)} in {', '.join(load_settings().steps)}: export where "
            "the step's code is, or set TRACER_STEPS."
        )
    return {step: steps[step].table.__table__ for step in batch.blueprint}  # type: ignore[attr-defined]


def columns_of(batch: BatchView, tables: dict[str, Table]) -> dict[str, Place]:
    """The flat form's columns, no two of one name: key, the input's own, and `STEP.status`,
    `STEP.COLUMN` per step. One of the input that has another's name is numbered: `key_2`."""
    results: list[Place] = []
    for step, table in tables.items():
        names = [c.name for c in table.columns if c.name not in WRITTEN_BY_US]
        results += [(step, None), *((step, name) for name in names)]
    ours = ["key", *(f"{step}.{column or 'status'}" for step, column in results)]
    names = unique_names([*ours, *batch.columns])
    key, of_results, of_input = names[0], names[1 : len(ours)], names[len(ours) :]
    inputs = [(None, column) for column in batch.columns]
    return {key: (None, None), **zipped(of_input, inputs), **zipped(of_results, results)}


def zipped(names: Sequence[str], places: Sequence[Place]) -> dict[str, Place]:
    """Each name's place."""
    return dict(zip(names, places, strict=True))


def value(row: dict[str, Any], place: Place) -> Any:
    """What a company has there."""
    match place:
        case (None, None):
            return row["key"]
        case (None, column):
            return row["attributes"].get(column)
        case (step, None):
            return row[f"{step}.status"]
        case (step, column):
            return (row[f"{step}.result"] or {}).get(column)


def nested(row: dict[str, Any], tables: dict[str, Table]) -> dict[str, Any]:
    """One company in the nested form: what was given, and per step its status and result."""
    steps = {s: {"status": row[f"{s}.status"], "result": row[f"{s}.result"]} for s in tables}
    return {name: row[name] for name in ("key", "name", "domain", "attributes")} | {"steps": steps}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _write_csv(
    file: BinaryIO, rows: Iterable[Any], batch: BatchView, tables: dict[str, Table]
) -> int:
    columns, count = columns_of(batch, tables), 0
    writer = csv.writer(_Lines(file), lineterminator=CRLF)  # cells with either half are quoted
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value(row, place)) for place in columns.values()])
        count += 1
    return count


class _Lines:
    """Encodes the csv module's lines; `TextIOWrapper` would close what is not its to close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(f"{line.removesuffix(CRLF)}\n".encode())


def _write_jsonl(
    file: BinaryIO, rows: Iterable[Any], _batch: BatchView, tables: dict[str, Table]
) -> int:
    count = 0
    for row in rows:
        line = json.dumps(nested(row, tables), ensure_ascii=False)
        count += file.write(line.encode() + b"\n") > 0
    return count


def _write_parquet(
    file: BinaryIO, rows: Iterable[Any], batch: BatchView, tables: dict[str, Table]
) -> int:
    import pyarrow as arrow  # a quarter of a second, which the other formats need not pay
    from pyarrow import parquet

    columns = columns_of(batch, tables)
    kinds = {name: _kind(tables, place) for name, place in columns.items()}
    schema = arrow.schema([arrow.field(name, kind) for name, kind in kinds.items()])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(rows, PARQUET_ROWS):
            found = [{name: value(row, at) for name, at in columns.items()} for row in group]
            writer.write_table(arrow.Table.from_pylist([_typed(f, schema) for f in found], schema))
            count += len(group)
    return count


def _kind(tables: dict[str, Table], place: Place) -> str:
    """Arrow's type for a column; what is no number of a result is text."""
    step, column = place
    if step is None or column is None:
        return "string"
    of = tables[step].columns[column].type
    kinds = ((Boolean, "bool"), (Integer, "int64"), (Float, "float64"))
    return next((kind for sql, kind in kinds if isinstance(of, sql)), "string")


def _typed(row: dict[str, Any], schema: Any) -> dict[str, Any]:
    """Values as the schema has them: what is not a number there is text."""
    return {
        name: _cell(value)
        if value is None
        or isinstance(_cell(value), str)
        or str(schema.field(name).type) != "string"
        else json.dumps(value)
        for name, value in row.items()
    }


def _groups(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


WRITERS = {Format.CSV: _write_csv, Format.JSONL: _write_jsonl, Format.PARQUET: _write_parquet}
