"""Turns data into something to see: rich for people, one JSON document for programs.

What was asked for goes to stdout, everything said about it to stderr. Text that came from files or
databases is wrapped in `Text`, so that no markup in it is obeyed.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
BatchName = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's name.")]


def say(message: str) -> None:
    """A sentence to the person, on stderr."""
    err.print(text(message))


def document(data: Any) -> None:
    """One JSON document on stdout; moments are ISO 8601."""
    typer.echo(json.dumps(data, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def text(value: Any) -> Text:
    """Any value as a cell: nothing for None, local time to the second for a moment."""
    if value is None:
        return Text("")
    if isinstance(value, datetime):
        return Text(value.astimezone().strftime("%m-%d %H:%M:%S"))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(visible(f"{value:g}" if isinstance(value, float) else str(value)))


def moment(text: str | None) -> datetime | None:
    """A moment from its ISO 8601 form."""
    return datetime.fromisoformat(text) if text else None


def visible(given: str) -> str:
    """`given` with its control characters written out: data must not steer the terminal."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], given)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> Table:
    """A plain table; columns whose name starts with "#" hold numbers."""
    made = Table(title=title or None, title_justify="left", box=None, header_style="bold")
    for column in columns:
        right = column.startswith("#")
        made.add_column(column.lstrip("#"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(text, row))
    return made


def seconds(value: float | None) -> str:
    """A duration for people: `0.5 s`, `42 s`, `2 min`, `1 h 05 min`; `?` where it is not known."""
    if value is None:
        return "?"
    if value < 120:
        return f"{value:g} s" if value < 10 else f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


COUNTED = (
    *(("COMPLETED", "green"), ("IN_PROGRESS", "yellow"), ("QUEUED", "blue"), ("FAILED", "red")),
    ("CANCELLED", "magenta"),
)


def bars(progress: dict[str, Any]) -> Progress:
    """One bar per step: COMPLETED of the batch's companies, and the counts that are not zero."""
    made = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30, complete_style="cyan"),
        TextColumn("{task.completed:>6}/{task.total}"),
        TextColumn("{task.fields[counts]}"),
        console=out,
    )
    for step in progress["steps"]:
        counts = "  ".join(
            f"[{colour}]{name.lower().replace('_', ' ')} {step[name]}[/]"
            for name, colour in COUNTED[1:]
            if step[name]
        )
        made.add_task(
            escape(visible(step["step"])),
            total=progress["companies"],
            completed=step["COMPLETED"],
            counts=counts,
        )
    return made


def headline(progress: dict[str, Any]) -> Text:
    """Batch, status, size, rate and ETA in one line."""
    parts = [progress["name"], progress["status"], f"{progress['companies']} companies"]
    parts.append(f"{progress['rate_per_s']:g} company-steps/s")
    if progress["status"] == "RUNNING":
        parts.append(f"ETA {seconds(progress['eta_s'])}")
    return Text(visible("  ".join(parts)), style="bold")
