"""Draws a batch's progress for a terminal: a bar per step, rate and ETA, and the details."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from cli.inspect.details import details
from cli.render import cut_middle, one_line, text, visible
from reconciler.contract.errors import with_fix
from reconciler.contract.progress import done, status_text
from reconciler.contract.states import ADVANCING, BatchStatus
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.money.amounts import shown
from reconciler.operator.wording import clock, operand, plural, seconds, span

# Widths are in cells of the terminal.
NARROW = 72  # a narrower terminal has less space between the columns
WIDE = 100  # from this width on, QUEUED and IN_PROGRESS rows are shown apart, and so are others
LONGEST_BAR, SHORTEST_BAR = 40, 10
NO_BAR = 4  # a bar with less room is left out
SHORTEST_NAME, PLAIN_NAME = 12, 20  # names are cut to PLAIN_NAME before bars are shortened
FIRST_TICK = timedelta(minutes=1)  # after a seeding, a loop that starts may need this long


@dataclass(frozen=True)
class Part:
    """One kind of rows: its name, its character in a bar (also in ASCII), and what it counts."""

    name: str
    cell: str
    ascii: str
    style: str
    statuses: tuple[str, ...]

    def drawn(self, plain: bool) -> str:
        """Its character in a bar; with `plain`, in ASCII."""
        return self.ascii if plain else self.cell


DONE = Part("done", "█", "#", "green", ("COMPLETED",))
NOT_FOUND = Part("not found", "∅", "?", "cyan", ("NOT_FOUND",))
SKIPPED = Part("skipped", "»", "~", "cyan", ("SKIPPED",))
NO_RESULT = Part("no result", "∅", "?", "cyan", ("NOT_FOUND", "SKIPPED"))
ALL_DONE = Part("done", "█", "#", "green", ADVANCING)
IN_FLIGHT = Part("in flight", "▓", ">", "yellow", ("QUEUED", "IN_PROGRESS"))
RUNNING = Part("running", "▓", ">", "yellow", ("IN_PROGRESS",))
QUEUED = Part("queued", "▒", "=", "blue", ("QUEUED",))
PENDING = Part("pending", "░", "-", "", ("PENDING",))
FAILED = Part("failed", "×", "x", "red", ("FAILED",))  # noqa: RUF001
CANCELLED = Part("cancelled", "○", "o", "magenta", ("CANCELLED",))
NOT_ASKED = Part("not asked", "─", "_", "dim", ("not_asked",))
TO_COME = Part("", "·", ".", "dim", ())
IN_A_BAR = (
    *(ALL_DONE, DONE, NOT_FOUND, SKIPPED, NO_RESULT, FAILED, CANCELLED, RUNNING, IN_FLIGHT),
    *(QUEUED, PENDING, NOT_ASKED),
)
IF_ANY = (NOT_FOUND, SKIPPED, NO_RESULT, CANCELLED, NOT_ASKED)  # a column of zeros is left out


@dataclass(frozen=True)
class Overview:
    """A batch for people.

    With `spare`, it fits into the terminal and leaves that many lines free: long lines are cut, and
    the least important details are left out. Without `spare` everything is shown.
    """

    progress: dict[str, Any]
    spare: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        width, plain = options.max_width, options.ascii_only
        cut = self.spare is not None
        room = max(console.height - (self.spare or 0), 6) if cut else 10**6
        head = [one_line(line) if cut else text(line) for line in headlines(self.progress)]
        head[0].stylize("bold")
        steps = shown_steps(self.progress["steps"], room - len(head) - 1)
        yield from head
        yield bars(self.progress, steps, width, plain)
        if left_out := len(self.progress["steps"]) - len(steps):
            yield one_line(f"and {plural(left_out, 'more step', 'more steps')}")
        room -= len(head) + 1 + len(steps) + bool(left_out)
        yield from details(self.progress, room, cut)


def overview(progress: dict[str, Any], spare: int | None = None) -> RenderableType:
    """See `Overview`."""
    return Overview(progress, spare)


def headlines(progress: dict[str, Any]) -> list[str]:
    """Lines above the bars: name, status and size; progress and rate; why no tick comes."""
    size = plural(progress["companies"], "company", "companies")
    whose = [f"client {progress['client']}"] if progress["client"] else []
    first = [progress["name"], status_text(progress), size, *whose]
    lines = ["  ".join(first), "  ".join(speed(progress))]
    if progress["spent"] is not None:
        lines.append(money(progress))
    if progress["unapproved"]:
        lines.append(unapproved(progress))
    if progress["status"] == BatchStatus.RUNNING:
        lines += unticked(progress)
        held = (*progress["held"], *progress["caps"], *progress["providers"])
        lines += [with_fix(reason["says"], reason["fix"]) for reason in held]
    return lines


def money(progress: dict[str, Any]) -> str:
    """What the batch has cost, and may cost."""
    of = "" if progress["cap"] is None else f" of {shown(progress['cap'])}"
    reserved = f"  {shown(progress['reserved'])} reserved" if progress["reserved"] else ""
    return f"{shown(progress['spent'])}{of} spent{reserved}"


def unapproved(progress: dict[str, Any]) -> str:
    """How many companies wait beyond the sample, and how they are let go."""
    sample = progress["companies"] - progress["unapproved"]
    rest = plural(progress["unapproved"], "company waits", "companies wait")
    return f"A sample of {sample:,}; {rest}: `tracer approve {operand(progress['batch'])}`"


def unticked(progress: dict[str, Any]) -> Iterator[str]:
    """Why no tick comes, with the fix; soon after the seeding, only that the tick is awaited."""
    if reason := progress["loop"]:
        early = progress["now"] - progress["created_at"] < FIRST_TICK
        awaited = early and reason["code"] == Code.NO_TICK
        says = f"{reason['says']}: the next tick is awaited"
        yield says if awaited else str(Reason(**reason))


def speed(progress: dict[str, Any]) -> Iterator[str]:
    """The share of company-steps that are done, and the duration; of a batch that runs, the recent
    rate, the ETA, and the time over which the rate was measured."""
    yield f"{share(progress)} done"
    if progress["status"] != BatchStatus.RUNNING:
        yield f"took {span(progress['finished_at'] - progress['created_at'])}"
        return
    yield f"{progress['rate_per_s']:,.4g} company-steps/s"
    if progress["eta_s"] is None:
        if not progress["polling_paused"]:
            yield "ETA ?"
    else:
        at = progress["now"] + timedelta(seconds=progress["eta_s"])
        yield f"ETA {seconds(progress['eta_s'])}, at {clock(at, progress['now'])}"
    if progress["rate_per_s"]:
        yield f"measured over {seconds(round(progress['rate_over_s']))}"


def share(progress: dict[str, Any]) -> str:
    """The share of company-steps that are done, rounded down: 100 % means all of them."""
    steps = progress["companies"] * len(progress["steps"])
    settled = sum(done(step) + step["not_asked"] for step in progress["steps"])
    return f"{100 * settled // steps}%" if steps else "0%"


def shown_steps(steps: Sequence[dict[str, Any]], room: int) -> Sequence[dict[str, Any]]:
    """The steps that fit into `room` lines, from the first one with rows to work."""
    if len(steps) <= room:
        return steps
    open_ = (n for n, step in enumerate(steps) if step["PENDING"] or rows(step, IN_FLIGHT))
    room = max(room - 1, 1)
    first = min(next(open_, 0), len(steps) - room)
    return steps[first : first + room]


def bars(
    progress: dict[str, Any], steps: Sequence[dict[str, Any]], width: int, plain: bool
) -> Table:
    """A line per step: name, bar, and the number of rows of each kind; the headings are the legend.

    If the width is too small, first the numbers are shortened, then the bars, then the names.
    """
    parts = kinds(progress["steps"], width)
    counts = [[rows(step, part) for part in parts] for step in steps]
    cells = [[f"{count:,}" for count in row] for row in counts]
    if width < taken(parts, cells, gap(width)) + SHORTEST_NAME + SHORTEST_BAR:
        cells = [[short(count) for count in row] for row in counts]
    longest = max(cell_len(visible(step["step"])) for step in steps)
    name, bar = split(width - taken(parts, cells, gap(width)), longest, gap(width))
    made = Table(box=None, header_style="bold", padding=(0, 1, 0, gap(width) - 1))
    made.add_column("step", width=name)
    if bar:
        made.add_column("", width=bar)
    for part in parts:
        heading = Text.assemble((part.drawn(plain), part.style), f" {part.name}")
        made.add_column(heading, justify="right", no_wrap=True)
    for step, of_step, row in zip(steps, counts, cells, strict=True):
        of = dict(zip(parts, of_step, strict=True))
        drawn = [draw(of, progress["companies"], bar, plain)] if bar else []
        made.add_row(one_line(cut_middle(visible(step["step"]), name)), *drawn, *row)
    return made


def split(room: int, longest: int, gap: int) -> tuple[int, int]:
    """The width of the names and of the bars; 0 if there is no room for useful bars."""
    longest = max(longest, len("step"))
    name = min(longest, max(room - SHORTEST_BAR, PLAIN_NAME))
    if room - name < NO_BAR:
        return max(len("step"), min(longest, room + gap)), 0
    return name, min(LONGEST_BAR, room - name)


def kinds(steps: Sequence[dict[str, Any]], width: int) -> list[Part]:
    """The kinds of rows with a column of their own: fewer where there is less room."""
    flying, without = [IN_FLIGHT], [NO_RESULT]
    if width >= WIDE:
        flying, without = [RUNNING, QUEUED], [NOT_FOUND, SKIPPED]
    for ended in ([DONE, *without], [ALL_DONE]):
        wanted = [*ended, *flying, PENDING, FAILED, CANCELLED, NOT_ASKED]
        found = [p for p in wanted if p not in IF_ANY or any(rows(step, p) for step in steps)]
        cells = [[short(rows(step, part)) for part in found] for step in steps]
        if taken(found, cells, gap(width)) + len("step") <= width:
            break
    return found


def rows(step: dict[str, Any], part: Part) -> int:
    """The number of a step's rows of one kind."""
    found: int = sum(step[status] for status in part.statuses)
    return found


def gap(width: int) -> int:
    """The space between two columns."""
    return 1 if width < NARROW else 2


def taken(parts: Sequence[Part], cells: Sequence[Sequence[str]], gap: int) -> int:
    """The width of all columns except names and bars, with the space around each."""
    lines = [[f"  {part.name}" for part in parts], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return sum(widths) + gap * (len(parts) + 2)


def short(count: int) -> str:
    """A number in five characters: `9,999`, `250k`, `1.25M`."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count // 1000}k" if count < 1_000_000 else f"{count / 1e6:.4g}M"


def draw(counts: dict[Part, int], companies: int, width: int, plain: bool) -> Text:
    """A bar; every kind with at least one row gets at least one cell."""
    of = {part: counts[part] for part in IN_A_BAR if part in counts}
    of[TO_COME] = max(0, companies - sum(of.values()))
    exact = {part: width * count / max(sum(of.values()), 1) for part, count in of.items()}
    cells = {p: max(int(exact[p]), of[p] > 0 and p is not TO_COME) for p in of}
    while (over := sum(cells.values()) - width) > 0:
        most = max(cells, key=lambda part: cells[part])
        cells[most] -= min(over, max(1, cells[most] - width // 2))
    while sum(cells.values()) < width:
        cells[max(exact, key=lambda part: exact[part] - cells[part])] += 1
    return Text.assemble(
        *((part.drawn(plain) * count, part.style) for part, count in cells.items()), no_wrap=True
    )
