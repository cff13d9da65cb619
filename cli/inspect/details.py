"""What else there is to say of a batch: failures, what is slow, what waits, and the last ticks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.render import cut_middle, table, visible
from reconciler.operator.failures import summed
from reconciler.operator.wording import clock, seconds

NAMED, NAME = 5, 24  # rows of each kind, and cells of a name, where the room is limited
TICKED = (
    *("claimed", "spawned", "released", "unknown", "advanced", "retried", "failed"),
    *("calls_cancelled", "finished"),
)


@dataclass(frozen=True)
class Section:
    """One kind of details: its columns, what was found, and the cells of a row for each of it."""

    columns: Sequence[str]
    found: Sequence[dict[str, Any]]
    cells: Callable[[dict[str, Any]], list[Any]]
    adds_up: bool = False  # what has no room is summed up in the last row

    def rows(self, room: int) -> list[list[Any]]:
        """So many rows at most."""
        shown = list(self.found[:room])
        if self.adds_up and room < len(self.found):
            shown[-1] = summed(self.found[room - 1 :])
        return [self.cells(of) for of in shown]


def details(progress: dict[str, Any], room: int, cut: bool) -> Iterator[RenderableType]:
    """Tables of what there is room for: each has a line of headings, and one per row."""
    sections = [section for section in sections_of(progress, cut) if section.found]
    counts = fitting(sections, room) if cut else [len(section.found) for section in sections]
    for section, count in zip(sections, counts, strict=True):
        if count:
            yield Text()
            yield table(section.columns, section.rows(count), cut=cut)


def fitting(sections: Sequence[Section], room: int) -> list[int]:
    """For how many rows of each section there is room, which they take in turns."""
    shown = [0] * len(sections)
    for _ in range(NAMED):
        for number, section in enumerate(sections):
            headed = 2 * (shown[number] == 0)  # the headings, and the space before them
            wanted = 2 if headed and section.adds_up else 1  # no sum without a row before it
            left = min(NAMED, len(section.found)) - shown[number]
            more = min(wanted, left, room - headed)
            if more > 0:
                shown[number] += more
                room -= headed + more
    return shown


def sections_of(progress: dict[str, Any], cut: bool) -> Iterator[Section]:
    """The details of each kind, the most telling first."""
    now = progress["now"]

    def name(of: str) -> str:
        return cut_middle(visible(of), NAME) if cut else of

    def failure(of: dict[str, Any]) -> list[Any]:
        if others := of.get("kinds"):
            return [*counted(of), "", f"and {others:,} other message{'s' * (others > 1)}"]
        return [*counted(of), name(of["step"]), message(of)]

    left_out = progress["failures_left_out"]
    yield Section(
        ["#failed", "#to retry", "step", "message"],
        [*progress["failures"], *([left_out] if left_out["kinds"] else [])],
        failure,
        adds_up=True,
    )
    yield Section(
        ["#in flight for", "step", "company", "#attempt", "call"],
        progress["slowest"],
        lambda of: [
            seconds(round(of["seconds"], 1)),
            *(name(of["step"]), name(of["company"]), of["attempt"], call(of)),
        ],
    )
    yield Section(
        ["#waiting", "until", "step", "since"],
        progress["waiting"],
        lambda of: [
            f"{of['count']:,}",
            moment(of["available_at"], now),
            name(of["step"]),
            message(of),
        ],
    )
    yield Section(
        ["last ticks", "#took", "did, in all batches"],
        progress["ticks"],
        lambda of: [clock(of["at"], now), f"{of['duration_ms']:.0f} ms", did(of)],
    )


def counted(group: dict[str, Any]) -> tuple[str, str]:
    """The rows of a group that failed, and those that will be tried again."""
    about, failed = "~" if group["estimated"] else "", group["failed"]
    return f"{about}{failed:,}", f"{about}{group['count'] - failed:,}"


def message(group: dict[str, Any]) -> str:
    """What a group of rows says: its one message, or the kind that its messages are of."""
    return str(group["error"] if group["varies"] else group["example"])


def call(row: dict[str, Any]) -> str:
    """The call that a row travels in; whether it runs is told where it has no name.

    An attempt whose lease has ended waits for the tick that decides on another one.
    """
    if row["over"]:
        return "over"
    return row["call_id"] or ("not begun" if row["status"] == "QUEUED" else "running")


def moment(at: datetime | None, now: datetime) -> str:
    """The time of day of a moment that there may be."""
    return clock(at, now) if at else ""


def did(tick: dict[str, Any]) -> str:
    """What a tick did, in rows."""
    return ", ".join(f"{name} {tick[name]:,}" for name in TICKED if tick[name])
