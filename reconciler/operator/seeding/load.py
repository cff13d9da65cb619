"""Loads a seed file into a batch, and reports each row and column: used, duplicate or rejected."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.batch import Seeded, SeedRow, seed_batch
from reconciler.operator.seeding.file import SeedFile
from reconciler.operator.seeding.identity import by_column, by_kind
from reconciler.operator.seeding.rows import Rejection
from reconciler.operator.store import OperatorStore

REPORT_EVERY = 1000  # rows between two calls of `on_rows`


def load(
    store: OperatorStore,
    source: SeedFile,
    name: str,
    steps: list[str],
    priority: int = 0,
    limit: int | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
    on_phase: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Seed a batch from the first `limit` rows, or all; returns the report of `seed --json`.

    `on_rows` gets the number of rows read so far. `on_phase` gets what Postgres does next: that
    takes longer than reading.

    Raises:
        BadInput: no row can be used, the file is damaged, or a step comes before one that it needs.
        WorkFailed: the database refused the rows.
    """
    rows = Rows(source, limit, on_rows)
    try:
        seeded = seed_batch(
            store,
            rows,
            name=name,
            blueprint=steps,
            columns=source.columns.attributes,
            file=source.name,
            priority=priority,
            on_phase=on_phase,
        )
    except BadInput as error:
        if not rows.rejected:
            raise
        first = rows.rejected[0]
        says = f"{error.says} Line {first.line}: {first.reason}."
        raise BadInput(says, error.fix) from error
    return report(source, rows, seeded)


def report(source: SeedFile, rows: "Rows", seeded: Seeded) -> dict[str, Any]:
    """The report of `seed --json`: counts of rows, all duplicates, rejections and columns."""
    return {
        "batch": seeded.batch,
        "rows": rows.count,
        "companies_new": seeded.companies_new,
        "companies_known": seeded.companies_known,
        "duplicates": len(seeded.duplicates),
        "duplicate_rows": seeded.duplicates,
        "rejected": [asdict(rejection) for rejection in rows.rejected],
        "columns": asdict(source.columns),
        "identified_by": by_kind(source.identity.counts),
        "identified_by_column": by_column(source.identity.counts),
    }


class Rows:
    """Iterates over the usable rows of a source; counts all rows, and keeps the rejections."""

    def __init__(self, source: SeedFile, limit: int | None, on_rows: Callable[[int], None]) -> None:
        self.count = 0
        self.rejected: list[Rejection] = []
        self._source = source
        self._limit = limit
        self._on_rows = on_rows

    def __iter__(self) -> Iterator[SeedRow]:
        for row in islice(self._source, self._limit):
            self.count += 1
            if self.count % REPORT_EVERY == 0:
                self._on_rows(self.count)
            if isinstance(row, Rejection):
                self.rejected.append(row)
            else:
                yield row
