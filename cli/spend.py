"""`tracer spend`: where the money went."""

from typing import Annotated, Any

import typer

from cli.inspect.command import MaybeBatch
from cli.render import AsJson, document, out, say, table
from reconciler.operator.money.spend import By, read_day, read_spend
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.wording import rate_text

SHOWN = ("bought", "hits", "hit_rate", "unknown", "reused", "charged", "per_hit")
NAMELESS = {By.BATCH: "(trials)", By.PROVIDER: "(none)", By.CLIENT: "(none)"}


def spend(
    batch: MaybeBatch = None,
    by: Annotated[
        By | None,
        typer.Option(help="What to add up by. Default: by batch, of one batch by step."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only from this day on (UTC): 2026-01-31.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was bought and what it cost; a row that used an earlier answer cost nothing."""
    by = by or (By.STEP if batch else By.BATCH)
    day = None if since is None else read_day(since)
    with read_only_store(ViewStore) as store:
        found = read_spend(store, by, batch, day)
    if as_json:
        document(found)
        return
    names = [str(row[by.value]) or NAMELESS.get(by, "") for row in found["rows"]]
    rows = [*zip(names, found["rows"], strict=True)]
    if len(rows) > 1:
        rows.append(("total", found["total"]))
    headings = [by.value, *(f"#{name.replace('_', ' ')}" for name in SHOWN)]
    out.print(table(headings, [[name, *cells(row)] for name, row in rows]))
    if not rows:
        say("Nothing was bought.")


def cells(row: dict[str, Any]) -> list[Any]:
    """What is shown of a row of spend."""
    return [rate_text(row[name]) if name == "hit_rate" else row[name] for name in SHOWN]
