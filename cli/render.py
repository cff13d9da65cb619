"""Shows data: tables and sentences for people, one JSON document for programs.

The requested data goes to stdout, all sentences about it to stderr. Text from files and databases
is wrapped in `Text`, so that Rich does not interpret markup in it.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.completion import batch_names
from reconciler.operator.exact_json import dumps
from reconciler.operator.money.amounts import digits, shown

# Control characters, and Unicode's direction marks that would reverse the text after them.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LEAST = 8  # cells: a column of text is not made narrower than this
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
BatchName = Annotated[
    str, typer.Argument(metavar="BATCH", help="The batch's name.", autocompletion=batch_names)
]


def say(message: str) -> None:
    """Print a sentence on stderr."""
    err.print(text(message))


def answer(as_json: bool, data: Any, *sentences: str) -> None:
    """Report a command's outcome: `data` as one JSON document, or the sentences on stderr."""
    if as_json:
        document(data)
        return
    for sentence in sentences:
        say(sentence)


def listing(
    as_json: bool,
    rows: Sequence[dict[str, Any]],
    headings: Sequence[str],
    cells: Callable[[dict[str, Any]], Sequence[Any]],
    nothing: str,
) -> None:
    """Print the rows as one JSON document, or as a table; `nothing` says that there are none."""
    if as_json:
        document(rows)
        return
    out.print(table(headings, map(cells, rows)))
    if not rows:
        say(nothing)


def document(data: Any) -> None:
    """Print one JSON document on stdout, in ASCII if stdout is not UTF-8.

    Times are ISO 8601. Amounts of money are numbers with all their digits.
    """
    plain = sys.stdout.encoding.lower() != "utf-8"
    typer.echo(dumps(data, ensure_ascii=plain, default=_plain, decimal=digits))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def text(value: Any) -> Text:
    """Any value as a cell: empty for None; a time as local time, to the second."""
    if value is None:
        return Text("")
    if isinstance(value, datetime):
        return Text(value.astimezone().strftime("%m-%d %H:%M:%S"))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, Decimal):
        return Text(shown(value))
    return Text(visible(f"{value:g}" if isinstance(value, float) else str(value)))


def one_line(value: Any) -> Text:
    """Any value as a cell of one line, which is cut if there is no room."""
    return Text(" ".join(text(value).plain.splitlines()), no_wrap=True, overflow="ellipsis")


def cut_middle(name: str, width: int) -> str:
    """`name` in `width` cells, cut in the middle: names of steps often differ at their ends."""
    if cell_len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{set_cell_size(name, width - 1 - end)}…{name[len(name) - end :]}"


def visible(given: str) -> str:
    """`given` with its control characters escaped: data must not control the terminal."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], given)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", cut: bool = False
) -> Table:
    """A plain table; columns whose names start with "#" hold numbers.

    If there is no room, text and headings are folded into several lines, but text columns keep
    `LEAST` cells; numbers are never folded. With `cut`, each row is one line instead, and the last
    column is cut first.
    """
    made = Table(title=title or None, title_justify="left", box=None, header_style="bold")
    cells = [[*map(one_line if cut else text, row)] for row in rows]
    headings, counts = ([c.lstrip("#") for c in columns], [c.startswith("#") for c in columns])
    widths = [None] * len(columns) if cut else folded(headings, counts, cells)
    for number, heading in enumerate(headings):
        made.add_column(
            one_line(heading) if cut else heading,
            justify="right" if counts[number] else "left",
            overflow="ellipsis" if cut else "fold",
            width=widths[number],
            no_wrap=cut and (counts[number] or number < len(columns) - 1),
        )
    for row in cells:
        made.add_row(*row)
    return made


def folded(
    headings: Sequence[str], counts: Sequence[bool], cells: Sequence[Sequence[Text]]
) -> list[int | None]:
    """The width of each column: as wide as its cells; if there is no room, the widest get less."""
    taken = [widest(row[n].plain for row in cells) for n in range(len(headings))]
    least = [took if count else min(LEAST, took) for took, count in zip(taken, counts, strict=True)]
    widths = [max(took, widest([name])) for took, name in zip(taken, headings, strict=True)]
    room = out.width - 2 * len(widths)
    while sum(widths) > room and widths != least:
        at = max(range(len(widths)), key=lambda n: (widths[n] > least[n], widths[n]))
        widths[at] -= 1
    return [*widths]


def widest(cells: Iterable[str]) -> int:
    """The width of the longest line, in cells of the terminal."""
    return max((cell_len(line) for cell in cells for line in cell.splitlines()), default=0)
