"""What else there is to say of a batch: failures, what is slow, what waits, and the last ticks."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cli.render import cut_middle, seconds, table, visible
from reconciler.contract.wording import clock

NAMED, NAME = 5, 24  # rows of each kind, and cells of a name, where the room is limited
TICKED = (
    *("claimed", "spawned", "released", "unknown", "advanced", "retried", "buried", "recalled"),
    "finished",
)

Section = tuple[Sequence[str], list[list[Any]]]


def details(progress: dict[str, Any], room: int, cut: bool) -> Iterator[RenderableType]:
    """Tables of what there is room for: each has a line of headings, and one per row."""
    sections = [(columns, found) for columns, found in told(progress, cut) if found]
    shown = [0] * len(sections)
    for _ in range(NAMED if cut else room):
        for number, (_, found) in enumerate(sections):
            lines = 1 + 2 * (shown[number] == 0)  # the headings, and the space before them
            if shown[number] < len(found) and lines <= room:
                shown[number] += 1
                room -= lines
        if not cut and shown == [len(found) for _, found in sections]:
            break
    for count, (columns, found) in zip(shown, sections, strict=True):
        if count:
            yield Text()
            yield table(columns, found[:count], cut=cut)


def told(progress: dict[str, Any], cut: bool) -> Iterator[Section]:
    """The details: columns and rows of each kind, the most telling first."""
    now = progress["now"]

    def step(row: dict[str, Any]) -> str:
        return cut_middle(visible(row["step"]), NAME) if cut else str(row["step"])

    yield (
        ["#failed", "#to retry", "step", "message"],
        [[*counted(of), step(of), message(of)] for of in progress["failures"]],
    )
    yield (
        ["#in flight for", "step", "company", "#attempt", "call"],
        [
            [seconds(round(of["seconds"], 1)), step(of), of["company"], of["attempt"], call(of)]
            for of in progress["slowest"]
        ],
    )
    yield (
        ["#waiting", "until", "step", "since"],
        [
            [f"{of['count']:,}", moment(of["available_at"], now), step(of), message(of)]
            for of in progress["waiting"]
        ],
    )
    yield (
        ["last ticks", "#took", "did"],
        [
            [clock(of["at"], now), f"{of['duration_ms']:.0f} ms", did(of)]
            for of in progress["ticks"]
        ],
    )


def counted(group: dict[str, Any]) -> tuple[str, str]:
    """The rows of a group that failed, and those that will be tried again."""
    about, failed = "~" if group["estimated"] else "", group["failed"]
    return f"{about}{failed:,}", f"{about}{group['count'] - failed:,}"


def message(group: dict[str, Any]) -> str:
    """What a group of rows says: its one message, or the kind that its messages are of."""
    return str(group["error"] if group["varies"] else group["example"])


def call(row: dict[str, Any]) -> str:
    """The call that a row travels in; whether it runs is told where it has no name."""
    return row["call_id"] or ("not begun" if row["status"] == "QUEUED" else "running")


def moment(at: datetime | None, now: datetime) -> str:
    """The time of day of a moment that there may be."""
    return clock(at, now) if at else ""


def did(tick: dict[str, Any]) -> str:
    """What a tick did, in rows."""
    return ", ".join(f"{name} {tick[name]:,}" for name in TICKED if tick[name])
