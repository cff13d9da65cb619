"""Turns data into something to see: rich for people, one JSON document for programs.

What was asked for goes to stdout, everything said about it to stderr. Text that came from files or
databases is wrapped in `Text`, so that no markup in it is obeyed.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.complete import batch_names

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
BatchName = Annotated[
    str, typer.Argument(metavar="BATCH", help="The batch's name.", autocompletion=batch_names)
]


def say(message: str) -> None:
    """A sentence to the person, on stderr."""
    err.print(text(message))


def document(data: Any) -> None:
    """One JSON document on stdout, which stays whole where that is less than UTF-8; moments are
    ISO 8601."""
    plain = sys.stdout.encoding.lower() != "utf-8"
    typer.echo(json.dumps(data, default=_plain, ensure_ascii=plain))


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


def one_line(value: Any) -> Text:
    """Any value as a cell that is cut where there is no room, and never a second line."""
    return Text(" ".join(text(value).plain.splitlines()), no_wrap=True, overflow="ellipsis")


def cut_middle(name: str, width: int) -> str:
    """`name` in `width` cells: names of steps tend to differ at their ends."""
    if cell_len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{set_cell_size(name, width - 1 - end)}…{name[len(name) - end :]}"


def moment(text: str | None) -> datetime | None:
    """A moment from its ISO 8601 form."""
    return datetime.fromisoformat(text) if text else None


def visible(given: str) -> str:
    """`given` with its control characters written out: data must not steer the terminal."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], given)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", cut: bool = False
) -> Table:
    """A plain table; columns whose name starts with "#" hold numbers.

    Text is folded where there is no room, and numbers are not. With `cut`, each row is one line,
    and the last column is cut first.
    """
    made = Table(title=title or None, title_justify="left", box=None, header_style="bold")
    for number, column in enumerate(columns, 1):
        made.add_column(
            one_line(column.lstrip("#")) if cut else column.lstrip("#"),
            justify="right" if column.startswith("#") else "left",
            overflow="ellipsis" if cut else "fold",
            no_wrap=column.startswith("#") or (cut and number < len(columns)),
        )
    for row in rows:
        made.add_row(*map(one_line if cut else text, row))
    return made


def seconds(value: float | None) -> str:
    """A duration for people: `0.5 s`, `42 s`, `2 min`, `1 h 05 min`; `?` where it is not known."""
    if value is None:
        return "?"
    if value < 120:
        return f"{value:g} s" if value < 10 else f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
