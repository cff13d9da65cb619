"""The details of a batch: failures, slow rows, waiting rows, and the last ticks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.render import cut_middle, table, visible
from reconciler.operator.failures import summed
from reconciler.operator.money.amounts import shown
from reconciler.operator.wording import clock, plural, rate_text, seconds

MOST_ROWS, NAME = 5, 24  # with limited room: rows of a section, and cells of a name
OUTCOMES = ("tried", "found", "not found", "skipped", "failed", "hit rate", "per hit")
HIT_OR_MISS = ("COMPLETED", "NOT_FOUND", "SKIPPED", "FAILED")
TICKED = (
    *("claimed", "spawned", "released", "unknown", "advanced", "retried", "failed"),
    *("calls_cancelled", "finished"),
)


@dataclass(frozen=True)
class Section:
    """One kind of details: its columns, its entries, and the function from an entry to cells."""

    columns: Sequence[str]
    entries: Sequence[dict[str, Any]]
    cells: Callable[[dict[str, Any]], list[Any]]
    adds_up: bool = False  # the last row sums up the entries that have no room

    def rows(self, room: int) -> list[list[Any]]:
        """The cells of at most `room` rows."""
        shown = list(self.entries[:room])
        if self.adds_up and room < len(self.entries):
            shown[-1] = summed(self.entries[room - 1 :])
        return [self.cells(entry) for entry in shown]


def details(progress: dict[str, Any], room: int, cut: bool) -> Iterator[RenderableType]:
    """The tables that fit into `room` lines; each has a line of headings, and one per row."""
    sections = [section for section in sections_of(progress, cut) if section.entries]
    counts = fitting(sections, room) if cut else [len(section.entries) for section in sections]
    for section, count in zip(sections, counts, strict=True):
        if count:
            yield Text()
            yield table(section.columns, section.rows(count), cut=cut)


def fitting(sections: Sequence[Section], room: int) -> list[int]:
    """The number of rows of each section that fit; the sections take the room in turns."""
    shown = [0] * len(sections)
    for _ in range(MOST_ROWS):
        for number, section in enumerate(sections):
            headed = 2 * (shown[number] == 0)  # the line of headings, and an empty line before it
            wanted = 2 if headed and section.adds_up else 1  # a sum needs a row before it
            left = min(MOST_ROWS, len(section.entries)) - shown[number]
            more = min(wanted, left, room - headed)
            if more > 0:
                shown[number] += more
                room -= headed + more
    return shown


def sections_of(progress: dict[str, Any], cut: bool) -> Iterator[Section]:
    """All details, the most important first."""
    now = progress["now"]

    def short(name: str) -> str:
        return cut_middle(visible(name), NAME) if cut else name

    def failure(group: dict[str, Any]) -> list[Any]:
        if others := group.get("kinds"):
            more = plural(others, "other message", "other messages")
            return [*counted(group), "", f"and {more}"]
        return [*counted(group), short(group["step"]), message(group)]

    yield Section(
        [
            "waterfall",
            "#tried",
            "#found",
            "#not found",
            "#skipped",
            "#failed",
            "#hit rate",
            "#per hit",
        ],
        [step for step in progress["steps"] if step["past"] is not None],
        lambda step: [short(step["step"]), *tried(step)],
    )
    left_out = progress["failures_left_out"]
    yield Section(
        ["#failed", "#will retry", "step", "message"],
        [*progress["failures"], *([left_out] if left_out["kinds"] else [])],
        failure,
        adds_up=True,
    )
    yield Section(
        ["#in flight for", "step", "company", "#attempt", "call"],
        progress["slowest"],
        lambda row: [
            "?" if row["seconds"] is None else seconds(round(row["seconds"], 1)),
            *(short(row["step"]), short(row["company"]), row["attempt"], call(row)),
        ],
    )
    yield Section(
        ["#waiting", "until", "step", "since"],
        progress["waiting"],
        lambda group: [
            f"{group['count']:,}",
            moment(group["available_at"], now),
            short(group["step"]),
            message(group),
        ],
    )
    yield Section(
        ["last ticks", "#took", "did, in all batches"],
        progress["ticks"],
        lambda tick: [clock(tick["at"], now), f"{tick['duration_ms']:.0f} ms", did(tick)],
    )


def tried(step: dict[str, Any]) -> Iterator[str]:
    """What came of a step's tries: their counts, the share of hits, and what a hit has cost."""
    for name in ("tried", *HIT_OR_MISS):
        yield f"{step[name]:,}"
    yield rate_text(step["hit_rate"])
    yield shown(step["per_hit"])


def counted(group: dict[str, Any]) -> tuple[str, str]:
    """The number of rows of a group that FAILED, and of those that will be tried again."""
    about, failed = "~" if group["estimated"] else "", group["failed"]
    return f"{about}{failed:,}", f"{about}{group['count'] - failed:,}"


def message(group: dict[str, Any]) -> str:
    """A group's message if all its rows have the same, else the kind of its messages."""
    return str(group["error"] if group["varies"] else group["example"])


def call(row: dict[str, Any]) -> str:
    """The id of the row's call; without an id, whether a worker has begun the row.

    `over` means that the lease has ended: the next tick decides whether there is another attempt.
    """
    if row["over"]:
        return "over"
    return row["call_id"] or ("not begun" if row["status"] == "QUEUED" else "running")


def moment(at: datetime | None, now: datetime) -> str:
    """The time of day, or nothing for None."""
    return clock(at, now) if at else ""


def did(tick: dict[str, Any]) -> str:
    """A tick's counts that are not 0, in words."""
    return ", ".join(f"{name} {tick[name]:,}" for name in TICKED if tick[name])
