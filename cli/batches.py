"""`tracer batches`: all batches with their progress."""

from typing import Any

from cli.inspect.progress import NARROW
from cli.render import AsJson, document, out, say, table
from reconciler.contract.progress import is_paused
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store


def batches(as_json: AsJson = False) -> None:
    """Show every batch with its progress."""
    with read_only_store(ViewStore) as store:
        rows = [with_share(row) for row in views.batches(store)]
    if as_json:
        document(rows)
        return
    columns = ["batch", "status", "#companies", "#done", "#in flight", "#failed", "seeded"]
    shown = [
        [
            *(
                row["name"],
                "paused" if is_paused(row) else row["status"],
                f"{row['companies']:,}",
                row["share"],
            ),
            *(f"{row['in_flight']:,}", f"{row['failed']:,}"),
            f"{row['created_at'].astimezone():%m-%d %H:%M}",
        ]
        for row in rows
    ]
    if out.width < NARROW:
        columns.pop()
        shown = [row[:-1] for row in shown]
    out.print(table(columns, shown))
    if not rows:
        say("There is no batch yet: `tracer seed FILE --blueprint a,b`.")


def with_share(row: dict[str, Any]) -> dict[str, Any]:
    """Add the share of completed company-steps, rounded down: 100 % means all of them."""
    steps = row["companies"] * len(row["blueprint"])
    return {**row, "share": f"{100 * row['completed'] // steps}%" if steps else ""}
