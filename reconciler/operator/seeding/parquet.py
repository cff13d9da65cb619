"""Reads a Parquet file, one record batch at a time, into values that JSON has.

JSON cannot keep bytes that are no text, or Infinity, so their row is rejected.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.seeding.rows import Rejection, Row, Table, checked
from reconciler.operator.seeding.values import as_json

# 2,000 rows of 200 columns of text stay under 100 MB; larger batches were no faster.
_BATCH = 2_000


def parquet_table(stream: BinaryIO, on_progress: Callable[[float], None]) -> Table:
    """Read Parquet; `on_progress` gets the share of rows read, 0 to 1, after every record batch.

    Raises:
        BadInput: it is not a Parquet file, or has values that cannot be converted.
    """
    try:
        file = parquet.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"This is not a readable Parquet file: {_first_sentence(error)}.") from error
    names = unique_names(file.schema_arrow.names)
    return Table(names, _rows(file, names, on_progress))


def _rows(
    file: Any, names: list[str], on_progress: Callable[[float], None]
) -> Iterator[Row | Rejection]:
    plain = [_is_plain(each.type) for each in file.schema_arrow]
    odd = [name for name, is_plain in zip(names, plain, strict=True) if not is_plain]
    numbers, total = count(1), max(file.metadata.num_rows, 1)
    read = 0
    for batch in _batches(file):
        columns = [_values(name, column) for name, column in zip(names, batch.columns, strict=True)]
        for number, cells in zip(numbers, zip(*columns, strict=True), strict=False):
            yield _row(number, dict(zip(names, cells, strict=True)), odd)
        read += batch.num_rows
        on_progress(read / total)


def _batches(file: Any) -> Iterator[Any]:
    try:
        yield from file.iter_batches(batch_size=_BATCH)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"The Parquet file is damaged: {_first_sentence(error)}.") from error


def _values(name: str, column: Any) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = _microseconds_or_text(column)
    try:
        values: list[Any] = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise BadInput(
            f"Column {name!r} ({column.type}) cannot be read: {_first_sentence(error)}. "
            "Write it as text or leave it out."
        ) from error
    return values


def _microseconds_or_text(column: Any) -> Any:
    # Python's datetime has microseconds: a finer time is kept as text, so that nothing is cut.
    try:
        return column.cast(pa.timestamp("us", column.type.tz))
    except pa.ArrowInvalid:
        return column.cast(pa.string())


def _is_plain(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    checks = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    return any(check(kind) for check in (*checks, pa.types.is_boolean, pa.types.is_null))


def _row(number: int, values: dict[str, Any], odd: list[str]) -> Row | Rejection:
    for name in odd:
        try:
            values[name] = as_json(values[name])
        except ValueError as error:
            return Rejection(number, f"column {name!r} {error}", values)
    return checked(number, values)


def _first_sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0].rstrip(".")
