"""`tracer batches` and `tracer inspect`: what there is, and how far it has come."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from cli.connect import operator
from cli.render import AsJson, BatchName, bars, document, headline, moment, out, say, table, text
from reconciler.contract.operate import OperatorStore

REFRESH_S = 0.5


def batches(as_json: AsJson = False) -> None:
    """Show every batch with its progress."""
    with operator() as store:
        rows = [with_share(row) for row in store.batches()]
    if as_json:
        document(rows)
        return
    columns = ["batch", "status", "#companies", "#done", "#in flight", "#failed", "seeded"]
    fields = ("companies", "share", "in_flight", "failed", "created_at")
    out.print(table(columns, [[r["name"], state(r), *(r[f] for f in fields)] for r in rows]))
    if not rows:
        say("There is no batch yet: `tracer seed FILE --blueprint a,b`.")


def with_share(row: dict[str, Any]) -> dict[str, Any]:
    """Add the share of company-steps that are COMPLETED."""
    steps = row["companies"] * len(row["blueprint"])
    return {**row, "share": f"{row['completed'] / steps:.0%}" if steps else ""}


def state(row: dict[str, Any]) -> str:
    """The status, and what stops it."""
    paused = row["paused"] and row["status"] == "RUNNING"
    return f"{row['status']} (paused)" if paused else str(row["status"])


def inspect(
    batch: BatchName,
    watch: Annotated[bool, typer.Option("--watch", help="Until it is done, or Ctrl-C.")] = False,
    company: Annotated[str | None, typer.Option(help="The timeline of one, by its key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a batch: progress per step, rate, ETA, failures by reason."""
    with operator() as store:
        if company is not None:
            show_company(store, batch, company, as_json)
        elif as_json:
            document(store.progress(store.batch(batch)))
        elif watch:
            follow(store, batch)
        else:
            out.print(overview(store.progress(store.batch(batch))))


def overview(progress: dict[str, Any]) -> RenderableType:
    """A batch for people."""
    parts: list[RenderableType] = [headline(progress), bars(progress)]
    if progress["failures"]:
        rows = [[f["step"], f["count"], f["error"]] for f in progress["failures"]]
        parts.append(table(["step", "#rows", "error"], rows))
    return Group(*parts)


def follow(store: OperatorStore, name: str) -> None:
    """Show a batch until nothing is left to run, or until Ctrl-C."""
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                progress = store.progress(store.batch(name))
                live.update(overview(progress), refresh=True)
                if progress["status"] != "RUNNING":
                    return
                time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        say("The batch goes on.")


def show_company(store: OperatorStore, name: str, key: str, as_json: bool) -> None:
    """The rows of one company in one batch, in the order of the blueprint."""
    found, rows = store.timeline(store.batch(name), key)
    if as_json:
        document({"company": found, "timeline": rows})
        return
    out.print(text(f"{found['name'] or found['key']}  {found['domain'] or ''}"), style="bold")
    fields = ("step", "status", "attempt", "queued_at", "started_at", "finished_at", "error")
    columns = [f"#{f}" if f == "attempt" else f.removesuffix("_at") for f in fields]
    shown = [line for row in rows for line in (*earlier(row), row)]
    out.print(table(columns, [[row[f] for f in fields] for row in shown]))


def earlier(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The attempts before a row's last one, as rows of their own."""
    for attempt in row["attempts"]:
        moments = ("queued_at", "started_at", "ended_at")
        at = {name: moment(attempt[name]) for name in moments}
        yield {**attempt, **at, "step": row["step"], "status": "", "finished_at": at["ended_at"]}
