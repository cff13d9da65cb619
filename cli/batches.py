"""`tracer batches`: all batches with their progress."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from cli.inspect.progress import NARROW, WIDE
from cli.render import AsJson, document, out, say, table
from reconciler.contract.progress import is_paused
from reconciler.operator import views
from reconciler.operator.money.amounts import shown
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.wording import plural

MOST = 100  # batches on a screen; the others are counted in a line

NO_RESULT = "#no result"
IF_ANY = ("client", "#spent", "#reserved", "#cap")  # left out where no batch has any
SOME = (NO_RESULT, *IF_ANY)

# The headings, and how a batch's cell is written.
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "batch": lambda row: row["name"],
    "client": lambda row: row["client"] or "",
    "status": lambda row: "paused" if is_paused(row) else row["status"],
    "#companies": lambda row: f"{row['companies']:,}",
    "#done": lambda row: row["share"],
    NO_RESULT: lambda row: f"{no_result(row):,}",
    "#in flight": lambda row: f"{row['in_flight']:,}",
    "#failed": lambda row: f"{row['failed']:,}",
    "#spent": lambda row: shown(row["spent"]),
    "#reserved": lambda row: shown(row["reserved"]),
    "#cap": lambda row: shown(row["cap"]),
    "seeded": lambda row: f"{row['created_at'].astimezone():%m-%d %H:%M}",
}


def batches(
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Show the newest so many: {MOST} by default, with --json all of them."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the batches with their progress, the newest last."""
    with read_only_store(ViewStore) as store:
        found, of_all = views.batches(store, limit or (None if as_json else MOST))
    rows = [with_share(row) for row in found]
    if as_json:
        document(rows)
        return
    columns = [name for name in COLUMNS if is_shown(name, rows, out.width)]
    out.print(table(columns, [[COLUMNS[name](row) for name in columns] for row in rows]))
    if more := of_all - len(rows):
        older = f"{plural(more, 'older batch is', 'older batches are')} not shown"
        say(f"{older}: `tracer batches --limit {of_all}`.")
    if not rows:
        say("There is no batch yet: `tracer seed FILE --blueprint a,b`.")


def is_shown(column: str, rows: Sequence[dict[str, Any]], width: int) -> bool:
    """Whether the column says something, and has room."""
    if column == NO_RESULT:
        return any(map(no_result, rows))
    if column in IF_ANY:
        return any(row[column.removeprefix("#")] for row in rows)
    roomy = width >= WIDE or not any(is_shown(other, rows, width) for other in SOME)
    return column != "seeded" or (width >= NARROW and roomy)


def no_result(row: dict[str, Any]) -> int:
    """The batch's rows that are done without a result: NOT_FOUND or SKIPPED."""
    found: int = row["not_found"] + row["skipped"]
    return found


def with_share(row: dict[str, Any]) -> dict[str, Any]:
    """Add the share of company-steps that are done, rounded down: 100 % means all of them."""
    steps = row["companies"] * len(row["steps"])
    settled = row["done"] + row["not_asked"]
    return {**row, "share": f"{100 * settled // steps}%" if steps else ""}
