"""`tracer export`: the input's columns and every step's results, a row per company."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from sqlalchemy import Boolean, Column, Float, Integer, Table

from cli.connect import operator
from cli.render import BatchName, say
from reconciler.contract.errors import BadInput
from reconciler.contract.operate import OperatorStore
from reconciler.contract.steer import BatchView
from workers.step import load_steps

WRITTEN_BY_US = {"company_id"}
PARQUET_ROWS = 10_000  # per row group, which is what is held in memory


class Format(StrEnum):
    """What `--format` takes."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    batch: BatchName,
    format_: Annotated[Format, typer.Option("--format")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; else stdout.")
    ] = None,
) -> None:
    """Write a batch's companies with their results as CSV, JSON lines or Parquet."""
    with operator() as store:
        found = store.batch(batch)
        tables = result_tables(found)
        rows = store.export(found, places(tables))
        if output is None:
            count = WRITERS[format_](sys.stdout.buffer, rows, found, tables)
        else:
            count = write_file(output, format_, rows, found, tables)
    say(f"{count} companies exported.")


def flat_rows(store: OperatorStore, batch: BatchView) -> Iterator[dict[str, Any]]:
    """The flat form of a batch's companies, streamed."""
    tables = result_tables(batch)
    for row in store.export(batch, places(tables)):
        yield flat(row, batch, tables)


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
            f"workers/steps/ has no {', '.join(missing)}: export where the step's code is."
        )
    return {step: steps[step].table.__table__ for step in batch.blueprint}  # type: ignore[attr-defined]


def write_file(
    path: Path, format_: Format, rows: Iterable[Any], batch: BatchView, tables: dict[str, Table]
) -> int:
    """Write beside the file and rename at the end, so that a file that is there is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            count = WRITERS[format_](file, rows, batch, tables)
        part.replace(path)
    except OSError as error:
        raise BadInput(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def columns_of(batch: BatchView, tables: dict[str, Table]) -> list[str]:
    """The flat form's columns: key, the input's own, and `STEP.status`, `STEP.COLUMN` per step."""
    names = ["key", *(name for name in batch.columns if name != "key")]
    for step, table in tables.items():
        names.append(f"{step}.status")
        names += [f"{step}.{c.name}" for c in table.columns if c.name not in WRITTEN_BY_US]
    return names


def flat(row: dict[str, Any], batch: BatchView, tables: dict[str, Table]) -> dict[str, Any]:
    """One company in the flat form."""
    found = {**row["attributes"], "key": row["key"]}
    for step in tables:
        found[f"{step}.status"] = row[f"{step}.status"]
        found |= {f"{step}.{k}": v for k, v in (row[f"{step}.result"] or {}).items()}
    return {name: found.get(name) for name in columns_of(batch, tables)}


def nested(row: dict[str, Any], tables: dict[str, Table]) -> dict[str, Any]:
    """One company in the nested form: what was given, and per step its status and result."""
    steps = {s: {"status": row[f"{s}.status"], "result": row[f"{s}.result"]} for s in tables}
    return {name: row[name] for name in ("key", "name", "domain", "attributes")} | {"steps": steps}


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _write_csv(
    file: BinaryIO, rows: Iterable[Any], batch: BatchView, tables: dict[str, Table]
) -> int:
    names, count = columns_of(batch, tables), 0
    writer = csv.writer(_Lines(file), lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(value) for value in flat(row, batch, tables).values()])
        count += 1
    return count


class _Lines:
    """Encodes what the csv module writes; `TextIOWrapper` would close what is not its to close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.encode())


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

    kinds = dict.fromkeys(columns_of(batch, tables), "string")
    for step, table in tables.items():
        kinds |= {
            f"{step}.{c.name}": _kind(c) for c in table.columns if c.name not in WRITTEN_BY_US
        }
    schema = arrow.schema([arrow.field(name, kind) for name, kind in kinds.items()])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(rows, PARQUET_ROWS):
            columns = [flat(row, batch, tables) for row in group]
            writer.write_table(
                arrow.Table.from_pylist([_typed(c, schema) for c in columns], schema)
            )
            count += len(group)
    return count


def _kind(column: Column[Any]) -> str:
    """Arrow's type for a result's column; what is no number is text."""
    kinds = ((Boolean, "bool"), (Integer, "int64"), (Float, "float64"))
    return next((kind for sql, kind in kinds if isinstance(column.type, sql)), "string")


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
