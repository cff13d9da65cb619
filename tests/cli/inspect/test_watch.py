"""`tracer inspect` for people: a view that fits its terminal, and a watch, in one and in a pipe."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from fcntl import ioctl
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cli.inspect import command
from cli.inspect.progress import Overview
from cli.render import cut_middle
from reconciler.contract.states import Status
from reconciler.operator import views
from reconciler.operator.diagnosis.row_facts import LoopFacts
from reconciler.operator.diagnosis.rules import loop
from reconciler.operator.store import OperatorStore
from tests.terminal import Terminal
from tests.world import World

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MARKS = re.compile(r"\x1b|[\x00-\x09\x0b-\x1f]")


def step(name: str, **counts: int) -> dict[str, Any]:
    more = {"not_asked": 0, "tried": 0, "hit_rate": None, "per_hit": None, "past": None}
    return {"step": name, **dict.fromkeys(map(str, Status), 0), **more, **counts}


def progress(*steps: dict[str, Any], companies: int = 1_000_000, **more: Any) -> dict[str, Any]:
    """A running batch in which there is something of everything to see."""
    failure = {"step": "step", "error": "HTTP # " * 40, "example": "HTTP 500\n" * 40}
    counted = {"count": 1234, "failed": 1000, "varies": False, "estimated": False}
    slow = {"company": "a key " * 9, "step": "step", "status": "QUEUED"}
    slow |= {"attempt": 1, "over": False}
    tick = dict.fromkeys(
        ("retried", "failed", "advanced", "released", "unknown", "calls_cancelled", "finished"), 0
    )
    return {
        "name": "batch",
        "status": "RUNNING",
        "paused": False,
        "client": None,
        "companies": companies,
        "unapproved": 0,
        "created_at": NOW - timedelta(hours=1),
        "finished_at": None,
        "now": NOW,
        "ticked_at": NOW,
        "silent": False,
        "polling_paused": False,
        "loop": None,
        "held": [],
        "caps": [],
        "providers": [],
        "spent": None,
        "rate_per_s": 1234.5,
        "rate_over_s": 41.7,
        "eta_s": 3600,
        "steps": list(steps),
        "failures": [failure | counted for _ in range(9)],
        "failures_left_out": {"kinds": 0, "count": 0, "failed": 0, "estimated": False},
        "waiting": [failure | counted | {"available_at": NOW}],
        "slowest": [{**slow, "seconds": 75.0, "call_id": "fc-" + "0" * 30}] * 5,
        "ticks": [{**tick, "at": NOW, "duration_ms": 12.3, "claimed": 5, "spawned": 5}] * 3,
        **more,
    }


def screen(shown: dict[str, Any], width: int, height: int, encoding: str = "utf-8") -> list[str]:
    """The lines of a live view in a terminal of that size."""
    file = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")
    console = Console(file=file, width=width, height=height, highlight=False)
    console.print(Overview(shown, spare=1))
    file.seek(0)
    return file.read().splitlines()


def test_the_rate_says_over_which_time_it_was_measured() -> None:
    (line,) = (line for line in screen(progress(step("a", PENDING=5)), 120, 20) if "ETA" in line)
    assert re.search(r"1,234 company-steps/s  ETA .*  measured over 42 s$", line)
    still = screen(progress(step("a", PENDING=5), rate_per_s=0.0, rate_over_s=0.0), 120, 20)
    assert "measured" not in "\n".join(still)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 20), (60, 24), (40, 10)])
@pytest.mark.parametrize("steps", [1, 3, 9, 100])
@pytest.mark.parametrize("length", [3, 40])
@pytest.mark.parametrize("without", [0, 50_000])
def test_a_live_view_fits_its_terminal(
    size: tuple[int, int], steps: int, length: int, without: int
) -> None:
    width, height = size
    names = [f"{n:02}".rjust(length, "s") for n in range(steps)]
    counts = {"PENDING": 200_000, "QUEUED": 500, "IN_PROGRESS": 500, "COMPLETED": 600_000}
    counts |= {"NOT_FOUND": without, "SKIPPED": without}
    lines = screen(progress(*(step(name, FAILED=99_999, **counts) for name in names)), *size)
    assert len(lines) <= height - 1
    assert max(map(len, lines)) <= width
    shown = "\n".join(lines)
    assert "RUNNING" in shown
    assert "ETA" in shown
    assert bool(re.search(r"and \d+ more steps", shown)) == (steps > height - 6)
    if steps <= 9 and width > 40:
        assert all(name[-2:] in shown for name in names)


@pytest.mark.parametrize(("encoding", "cells"), [("utf-8", "█×▓░·"), ("ascii", "#x>-.")])  # noqa: RUF001
def test_the_parts_of_a_bar_are_told_apart_without_colour(encoding: str, cells: str) -> None:
    counts = {"COMPLETED": 50, "FAILED": 1, "QUEUED": 9, "IN_PROGRESS": 1, "PENDING": 19}
    shown = screen(progress(step("a", **counts), companies=100), 80, 24, encoding)
    (bar,) = (line for line in shown if line.startswith(" a "))
    drawn = bar.split()[1]
    assert "".join(sorted(set(drawn), key=drawn.index)) == cells
    (legend,) = (line for line in shown if line.startswith(" step "))
    done, failed, flying, waiting, _ = cells
    for word in (f"{done} done", f"{flying} in flight", f"{waiting} pending", f"{failed} failed"):
        assert word in legend


def test_a_bar_is_full_only_when_all_is_done() -> None:
    for done in (999_999, 1_000_000):
        counts = {"COMPLETED": done, "PENDING": 1_000_000 - done}
        shown = "\n".join(screen(progress(step("a", **counts)), 80, 24))
        assert ("100% done" in shown) == (done == 1_000_000)
        assert (re.search(r"a +█+ ", shown) is not None) == (done == 1_000_000)


EMPTY = {"NOT_FOUND": 20, "SKIPPED": 10}
OTHERS = ("queued", "pending", "failed", "cancelled")
KINDS = re.compile("|".join([*OTHERS, "done|not found|skipped|no result|in flight|running"]))


@pytest.mark.parametrize(
    ("width", "counts", "columns"),
    [
        (120, EMPTY, {"done": "50", "not found": "20", "skipped": "10", "running": "5"}),
        (120, {"SKIPPED": 10}, {"done": "50", "skipped": "10", "running": "5"}),
        (100, EMPTY, {"done": "50", "not found": "20", "skipped": "10", "running": "5"}),
        (80, EMPTY, {"done": "50", "no result": "30", "in flight": "5"}),
        (60, EMPTY, {"done": "50", "no result": "30", "in flight": "5"}),
        (60, EMPTY | {"CANCELLED": 3}, {"done": "80", "in flight": "5"}),
    ],
)
def test_what_has_no_result_is_shown_as_far_as_there_is_room(
    width: int, counts: dict[str, int], columns: dict[str, str]
) -> None:
    counts = {"COMPLETED": 50, "IN_PROGRESS": 5, "PENDING": 4, **counts}
    shown = screen(progress(step("a", **counts), companies=100), width, 24)
    names = KINDS.findall(shown[2])
    found = dict(zip(names, shown[3].split()[-len(names) :], strict=True))
    assert {name: rows for name, rows in found.items() if name not in OTHERS} == columns


def test_where_there_is_no_room_at_all_it_is_counted_as_done() -> None:
    counts = {"COMPLETED": 50, "IN_PROGRESS": 5, "PENDING": 4, **EMPTY}
    shown = screen(progress(step("a", **counts), companies=100), 40, 24)
    assert shown[3].split() == ["a", "80", "5", "4", "0"]


def test_what_has_no_result_is_done_and_told_apart_in_a_bar() -> None:
    counts = {"COMPLETED": 50, **EMPTY, "FAILED": 20}
    for encoding, cells in (("utf-8", "█∅»×"), ("ascii", "#?~x")):  # noqa: RUF001
        shown = screen(progress(step("a", **counts), companies=100), 120, 24, encoding)
        (bar,) = (line.split()[1] for line in shown if line.startswith(" a "))
        assert "".join(sorted(set(bar), key=bar.index)) == cells
    assert "80% done" in "\n".join(shown)


def test_a_line_in_a_pipe_counts_what_has_no_result() -> None:
    line = command.line(progress(step("a", COMPLETED=50, **EMPTY), companies=100))
    assert "80% done" in line
    assert line.endswith("not found 20  skipped 10")


def test_names_are_cut_in_their_middle() -> None:
    assert cut_middle("enrich_website", 20) == "enrich_website"
    assert cut_middle("enrich_website", 9) == "enri…site"
    assert cut_middle("enrich_website", 4) == "en…e"


def halted(ticked_at: datetime | None, paused: bool = False) -> dict[str, Any]:
    """Why no tick comes, as the view has it."""
    polling = {"paused": paused, "ticked_at": ticked_at, "poll_s": 1, "idle_s": 10, "now": NOW}
    return asdict(next(loop.halted(LoopFacts.of(polling))))


def test_a_batch_nobody_ticks_for_says_so() -> None:
    shown = screen(progress(step("a"), loop=halted(ticked_at=NOW - timedelta(hours=2))), 80, 24)
    assert shown[2].startswith("No loop has ticked since ")
    assert shown[2].endswith(": run `tracer doctor`.")
    assert "ticked" not in "".join(screen(progress(step("a")), 80, 24))


@pytest.mark.parametrize(("age_s", "says"), [(59, "the next tick is awaited"), (61, "doctor")])
def test_the_first_tick_is_awaited_for_a_minute(age_s: int, says: str) -> None:
    new = {"loop": halted(ticked_at=None), "created_at": NOW - timedelta(seconds=age_s)}
    line = screen(progress(step("a"), **new), 80, 24)[2]
    assert line.startswith("No loop has ever ticked: ")
    assert says in line


def test_polling_that_is_paused_is_told_in_place_of_the_silence_and_of_an_eta() -> None:
    paused = {"polling_paused": True, "eta_s": None, "loop": halted(ticked_at=None, paused=True)}
    shown = screen(progress(step("a"), **paused), 80, 24)
    assert shown[2] == "Polling is paused: run `tracer interval resume`."
    assert not re.search("ticked|ETA", "\n".join(shown))
    over = {"status": "FINISHED", "finished_at": NOW}
    assert "polling" not in "\n".join(screen(progress(step("a"), **paused | over), 80, 24))


@pytest.mark.parametrize("height", [12, 16, 24, 50])
@pytest.mark.parametrize("kinds", [1, 2, 4, 20])
@pytest.mark.parametrize("left_out", [0, 13])
def test_failures_add_up_whatever_there_is_room_for(height: int, kinds: int, left_out: int) -> None:
    failures = [
        {"step": "step", "error": f"kind {n}", "example": f"kind {n}", "count": 3, "failed": 1}
        | {"varies": False, "estimated": False}
        for n in range(kinds)
    ]
    sums = {"kinds": left_out, "count": 2 * left_out, "failed": left_out, "estimated": False}
    found = {"failures": failures, "failures_left_out": sums}
    shown = screen(progress(step("a"), **found), 80, height)
    rows = [line.split() for line in shown if re.search(r"kind \d|other message", line)]
    assert "kind 0" in "\n".join(shown)
    assert sum(int(failed) for failed, *_ in rows) == kinds + left_out
    assert sum(int(retried) for _, retried, *_ in rows) == 2 * kinds + left_out
    named = sum("kind" in row for row in rows)
    others = re.findall(r"and (\d+) other", "\n".join(shown))
    assert sum(map(int, others)) == kinds + left_out - named


def test_what_is_in_flight_no_more_is_over() -> None:
    slow = progress(step("a"))["slowest"][0] | {"seconds": 38.0, "over": True}
    assert re.search(
        r"38 s .* over *$", "\n".join(screen(progress(step("a"), slowest=[slow]), 80, 24)), re.M
    )


def test_bars_give_way_before_names() -> None:
    counts = {"COMPLETED": 13, "CANCELLED": 87}
    names = ("headcount", "normalize")
    shown = screen(progress(*(step(name, **counts) for name in names), companies=100), 60, 24)
    assert all(any(line.startswith(name) for line in shown) for name in names)
    (heading,) = (line for line in shown if line.startswith("step"))
    assert heading.rstrip().endswith("cancelled")


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, *events: Callable[[], object]) -> Iterator[None]:
    """Between two looks, the next of these happens."""
    following = iter(events)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: next(following)())
    monkeypatch.setattr(command, "time", clock)
    yield
    assert next(following, None) is None


def a_life(world: World) -> list[Callable[[], object]]:
    return [world.tick, lambda: None, world.work, world.tick]


def test_in_a_pipe_a_watch_writes_a_plain_line_per_change(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    world.seed(3, name="[b]b[/b]\n\x1b[31m")
    with meanwhile(monkeypatch, *a_life(world)):
        lines = tracer("inspect", "[b]b[/b]\n\x1b[31m", "--watch").splitlines()
    assert [re.search(r"(pending|in flight) 3|100% done", line) is not None for line in lines] == (
        [True] * 4
    )
    assert not MARKS.search("".join(lines))
    assert "FINISHED" in lines[-1]


def test_a_watch_writes_that_polling_was_paused(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(3)
    world.tick()
    pause = lambda: world.operator.set_polling(paused=True)  # noqa: E731
    with meanwhile(monkeypatch, pause, world.work, world.tick):
        lines = tracer("inspect", "batch", "--watch").splitlines()
    assert ["Polling is paused" in line for line in lines] == [False, True, True, False]


def test_a_watch_of_json_writes_a_document_per_change(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(3)
    with meanwhile(monkeypatch, *a_life(world)):
        lines = tracer("inspect", "batch", "--watch", "--json").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["RUNNING"] * 3 + ["FINISHED"]


def test_a_watch_rests_so_long_that_it_costs_a_hundredth(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(3)
    seen, rest_s = next(command.watched(world.operator, "batch"))
    assert seen["waiting"] == []
    assert command.SHORTEST_S <= rest_s <= command.LONGEST_S
    progress = views.progress
    known: list[bool] = []

    def slow(store: OperatorStore, batch: Any, before: Any = None) -> dict[str, Any]:
        known.append(before is not None)
        time.sleep(0.02 + 0.1)  # and what the statements of a look take on their way
        return progress(store, batch, before=before)

    monkeypatch.setattr(views, "progress", slow)
    watched = command.watched(world.operator, "batch")
    _, rest_s = next(watched)
    assert rest_s >= command.REST * 0.02
    next(watched)
    assert known == [False, True]  # details are looked at less often


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 0, b"The batch goes on.\n"), (signal.SIGTERM, 143, b"")],
)
def test_whatever_ends_a_watch_leaves_a_clean_terminal_and_the_last_picture(
    url: str, world: World, number: signal.Signals, code: int, said: bytes
) -> None:
    world.seed(3)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "DATABASE_URL": url, "TERM": "xterm-256color", "NO_COLOR": "1"}
    command = [sys.executable, "-c", "from cli import main; main()", "inspect", "batch", "--watch"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment
    ) as watching:
        os.close(theirs)
        written = read_until(ours, b"RUNNING")  # the picture is under way
        watching.send_signal(number)
        written += read_until(ours, b"")
        assert watching.stderr
        assert watching.stderr.read() == said
    assert watching.returncode == code
    screen, _, after = written.rpartition(b"\x1b[?1049l")
    assert b"\x1b[?1049h" in screen
    assert b"batch  RUNNING" in after
    assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l")
    assert not re.search(rb"\x1b\[[0-9;]*[3-4][0-7]m", written), "a colour"


def read_until(terminal: int, words: bytes) -> bytes:
    """What is written until those words are, or to the end."""
    read = b""
    while not words or words not in read:
        try:
            read += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
    os.close(terminal) if not words else None
    return read
