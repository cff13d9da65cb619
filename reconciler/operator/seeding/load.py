"""Loads a seed file into a batch, and reports each row and column: used, duplicate or rejected."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from operator import attrgetter
from typing import Any

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.operator.diagnosis.secret_checks import missing_secrets
from reconciler.operator.seeding.batch import FREELY, Seeded, SeedRow, Spending, seed_batch
from reconciler.operator.seeding.companies import Duplicates
from reconciler.operator.seeding.file import SeedFile
from reconciler.operator.seeding.identity import by_column, by_kind
from reconciler.operator.seeding.route import Route
from reconciler.operator.seeding.rows import Rejection
from reconciler.operator.store import OperatorStore

REPORT_EVERY = 1000  # rows between two calls of `on_rows`


def load(
    store: OperatorStore,
    source: SeedFile,
    name: str,
    route: Route,
    priority: int = 0,
    limit: int | None = None,
    duplicates: Duplicates = Duplicates.FILL,
    dry_run: bool = False,
    spending: Spending = FREELY,
    sample: int | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
    on_phase: Callable[[str], None] = lambda _: None,
    on_reject: Callable[[Rejection], None] = lambda _: None,
) -> dict[str, Any]:
    """Seed a batch from the first `limit` rows, or all; returns the report of `seed --json`.

    With `dry_run`, nothing of it is kept. `on_rows` gets the number of rows read so far. `on_phase`
    gets what Postgres does next: that takes longer than reading. `on_reject`
    gets each rejection with its row.

    Raises:
        BadInput: no row can be used, the file is damaged, or a step comes before one that it needs.
        WorkFailed: the database refused the rows.
    """
    rows = Rows(source, limit, on_rows, on_reject)
    about: dict[str, Any] = {"name": name, "file": source.name, "priority": priority}
    how: dict[str, Any] = {"duplicates": duplicates, "dry_run": dry_run, "on_phase": on_phase}
    how |= {"spending": spending, "sample": sample}
    columns = source.columns.attributes
    try:
        seeded = seed_batch(store, rows, **about, blueprint=route.blueprint, columns=columns, **how)
    except BadInput as error:
        if not rows.rejected:
            raise
        first = rows.rejected[0]
        says = f"{error.says} Line {first.line}: {first.reason}."
        raise BadInput(says, error.fix) from error
    if duplicates is Duplicates.REJECT:
        rows.reject(seeded.members.duplicates)
        seeded = replace(seeded, members=replace(seeded.members, duplicates=[]))
    missing = missing_secrets(row for row in store.steps() if row["step_name"] in route.steps)
    plan = seeded.plan and seeded.plan.document()
    money = {
        "client": spending.client,
        "cap": spending.cap,
        "buy": list(spending.buy),
        "plan": plan,
    }
    found = report(source, rows, seeded)
    return {**found, **money, "missing_secrets": missing, "dry_run": dry_run}


def report(source: SeedFile, rows: "Rows", seeded: Seeded) -> dict[str, Any]:
    """The report of `seed --json`: counts of rows, all duplicates, rejections and columns.

    Of the changed cells of known companies it has the first; `changed_columns` counts all of them.
    """
    members = seeded.members
    return {
        "batch": seeded.batch,
        "rows": rows.count,
        "companies_new": members.new,
        "companies_known": members.known,
        "companies_unapproved": seeded.unapproved,
        "companies_changed": members.changes.companies,
        "changed_columns": members.changes.columns,
        "changes": members.changes.cells,
        "changes_left_out": members.changes.left_out,
        "duplicates": len(members.duplicates),
        "duplicate_rows": members.duplicates,
        "rejected": [{"line": each.line, "reason": each.reason} for each in rows.rejected],
        "skipped_lines": source.lines_skipped,
        "columns": asdict(source.columns),
        "source": source.identity.system,
        "identified_by": by_kind(source.identity.counts),
        "identified_by_column": by_column(source.identity.counts),
    }


class Rows:
    """Iterates over the usable rows of a source; counts all rows, and keeps the rejections."""

    def __init__(
        self,
        source: SeedFile,
        limit: int | None,
        on_rows: Callable[[int], None],
        on_reject: Callable[[Rejection], None],
    ) -> None:
        self.count = 0
        self.rejected: list[Rejection] = []
        self._source = source
        self._limit = limit
        self._on_rows = on_rows
        self._on_reject = on_reject

    def reject(self, duplicates: Iterable[Row]) -> None:
        """Add duplicates to the rejections."""
        for row in duplicates:
            reason = f"line {row['kept_line']} has the key {row['key']!r} too"
            self.rejected.append(Rejection(row["line"], reason))
        self.rejected.sort(key=attrgetter("line"))

    def __iter__(self) -> Iterator[SeedRow]:
        for row in islice(self._source, self._limit):
            self.count += 1
            if self.count % REPORT_EVERY == 0:
                self._on_rows(self.count)
            if isinstance(row, Rejection):
                self._on_reject(row)
                self.rejected.append(replace(row, row=None))  # there may be a million of them
            else:
                yield row
