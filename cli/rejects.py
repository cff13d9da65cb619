"""Writes the rows that a seeding rejects to a CSV file, to be mended and seeded."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cli.output_file import opened
from reconciler.operator.exact_json import dumps
from reconciler.operator.seeding.rows import Rejection


@contextmanager
def rejects_file(path: str | None, columns: Sequence[str]) -> Iterator[Callable[[Rejection], None]]:
    """Open `path`; gives a function that writes a rejection to it, or does nothing without a path.

    The file has the line and the reason of each, and then its cells as far as they could be read.
    It appears at the end of the block.

    Raises:
        BadInput: it cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    with opened(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(["line", "reason", *columns])
        yield lambda found: writer.writerow([found.line, found.reason, *_cells(found.row, columns)])
        text.detach()  # it flushes, and `opened` closes the file


def _cells(row: Any, columns: Sequence[str]) -> Sequence[Any]:
    if isinstance(row, dict):
        return [_cell(row.get(name)) for name in columns]
    return row if isinstance(row, list) else [row]


def _cell(value: Any) -> Any:
    return dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value
