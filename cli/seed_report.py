"""What the report of `tracer seed` says to people about who the companies are, and what changed."""

from collections.abc import Iterator
from typing import Any

from cli.render import cut_middle
from reconciler.contract.attributes import says
from reconciler.operator.wording import plural

NAME_CELLS = 60  # each name is cut to this many cells
SHOWN_CELLS = 20  # so many changed cells are listed; --json has more
SHOWN_COLUMNS = 8  # of a row: so many columns are named, the others are counted


def brief(name: Any) -> str:
    """A column's name, or a value, in one line, cut to `NAME_CELLS`."""
    return cut_middle(" ".join(str(name).split()), NAME_CELLS)


def identified(report: dict[str, Any]) -> str:
    """By what the rows were identified: "Identified: 1,070 by domain, 6,697 by name."."""
    counts = [f"{rows:,} by {by}" for by, rows in report["identified_by"].items() if rows]
    columns = ", ".join(repr(brief(column)) for column in report["columns"]["keys"])
    return f"Identified: {', '.join(counts)} (tried: {columns})."


def duplicate(row: dict[str, Any]) -> str:
    """A row that is not the one of its key: which line is, and what became of its cells."""
    filled = f"; fills {listed([brief(name) for name in row['filled']])}" if row["filled"] else ""
    differs = [
        f"{brief(column)} {shown(cells['dropped'])} (kept: {shown(cells['kept'])})"
        for column, cells in row["differs"].items()
    ]
    dropped = f"; not used: {listed(differs)}" if differs else ""
    line = f"Line {row['line']} is a duplicate: line {row['kept_line']} has the key {row['key']!r}"
    return f"{line}{filled}{dropped}"


def changed(report: dict[str, Any]) -> Iterator[str]:
    """What changes about known companies: the number by column, then the cells."""
    if not report["companies_changed"]:
        return
    columns = [f"{brief(name)} ({rows:,})" for name, rows in report["changed_columns"].items()]
    companies = plural(report["companies_changed"], "known company", "known companies")
    yield f"Changed: {companies}: {listed(columns)}."
    cells = report["changes"][:SHOWN_CELLS]
    for cell in cells:
        was = f", was {shown(cell['before'])}" if says(cell["before"]) else ""
        yield f"{brief(cell['key'])}: {brief(cell['column'])} is {shown(cell['after'])}{was}"
    if more := sum(report["changed_columns"].values()) - len(cells):
        listed_cells = (
            f"the first {len(report['changes']):,}" if report["changes_left_out"] else "all"
        )
        yield f"… and {more:,} more; --json lists {listed_cells}."


def other_system(report: dict[str, Any]) -> str | None:
    """A warning if known ids have other names now: they may be the ids of another system."""
    name = report["columns"]["mapped"].get("name")
    renamed = [c for c in report["changes"] if c["column"] == name and says(c["before"])]
    if report["source"] or not report["identified_by"]["key"] or not renamed:
        return None
    cell = renamed[0]
    return (
        f"{brief(cell['key'])} was {shown(cell['before'])}, and is {shown(cell['after'])} now. If "
        "the ids of this file are those of another system, seed it with --source NAME."
    )


def shown(cell: Any) -> str:
    """A cell as a person reads it."""
    return repr(brief(cell)) if says(cell) else "empty"


def listed(names: list[str]) -> str:
    """The first few names, and the number of the others."""
    more = len(names) - SHOWN_COLUMNS
    return ", ".join(names[:SHOWN_COLUMNS]) + (f" and {more:,} more" if more > 0 else "")
