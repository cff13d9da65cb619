"""Tick, wait, tick: what one scheduled run does with its window."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from time import monotonic

import psycopg

from reconciler.contract.outage import Outage
from reconciler.contract.store import Intervals, Store
from reconciler.spawners.protocol import Spawner
from reconciler.tick import TickReport, tick

# A scheduled run starts 2 to 17 s late (Prefect's process worker, measured). The older loop stays
# for a minute past its interval, so that the newer one always takes over from a living one.
HANDOVER_S = 60
# After an outage workers go first, and write what they have done: their leases may be over, and a
# tick would have it done again. Their waits double too, from half a second on: the last one is that
# much longer than all before it, and then they have to connect.
HEADSTART_S = 6.0  # at most
CONNECT_S = 1.0
# Ticks that come faster go without a look in between: it costs little, but for beside an old
# snapshot, and what only a look sees may come that much later.
LOOK_EVERY_S = 0.5


class Left(StrEnum):
    """Why a loop has left."""

    PAUSED = "paused"
    DONE = "done"
    TAKEN_OVER = "taken_over"
    WINDOW_CLOSED = "window_closed"
    STOPPED = "stopped"


SAYS = {
    Left.PAUSED: "polling is paused",
    Left.DONE: "no batch is left to run",
    Left.TAKEN_OVER: "a newer loop has taken over",
    Left.WINDOW_CLOSED: "its window has closed",
    Left.STOPPED: "told to stop",
}


@dataclass(frozen=True)
class Window:
    """A loop that has left: why, and the sums of what its ticks did (`TickReport.counts`)."""

    left: Left
    totals: Counter[str]

    def __str__(self) -> str:
        did = ", ".join(f"{name} {count}" for name, count in self.totals.items() if count)
        return f"Left because {SAYS[self.left]}: {did or 'nothing to do'}"


def poll(
    store: Store,
    spawner: Spawner,
    stop: Event,
    log: Callable[[str], None],
    *,
    until_done: bool = False,
    on_tick: Callable[[TickReport], None] | None = None,
) -> Window:
    """Tick until told to leave.

    `on_tick` is given the report of each tick that did something; by default it is logged. `log`
    gets a line when the database goes away, and when it is back.

    It leaves when a newer loop takes over, when polling is paused, when its window (the schedule's
    interval and `HANDOVER_S`) closes, or when `stop` is set, which is looked at between ticks. With
    `until_done` it has no window, takes nothing over, and leaves when no batch is left to run.
    Intervals are read anew at every tick. An unreachable database is waited for.
    """
    generation = None if until_done else store.take_over()
    store.prune(store.now())
    opened, looked, wait_s, totals = monotonic(), 0.0, 0.0, Counter[str]()
    outage, away = Outage(log), False
    while not stop.wait(wait_s):
        try:
            polling = store.beat()
            if away:
                away, wait_s = False, min(outage.duration_s + CONNECT_S, HEADSTART_S)
                continue
            if left := why_leave(polling, generation, monotonic() - opened, until_done):
                return Window(left, totals)
            look = monotonic() - looked >= LOOK_EVERY_S
            report = tick(store, spawner, polling.now, look)
        except psycopg.OperationalError as error:
            away, wait_s = True, outage.wait(error)
            continue
        outage.over()
        if not report:
            looked = 0.0
        elif look:
            looked = monotonic()
        totals.update(report.counts())
        if report:
            on_tick(report) if on_tick else log(str(report))
        wait_s = next_wait(report, polling, wait_s)
    return Window(Left.STOPPED, totals)


def why_leave(
    polling: Intervals, generation: int | None, open_s: float, until_done: bool
) -> Left | None:
    """The reason for a loop to leave before its next tick, if there is one."""
    if polling.paused:
        return Left.PAUSED
    if until_done:
        return None if polling.busy else Left.DONE
    if polling.generation != generation:
        return Left.TAKEN_OVER
    return Left.WINDOW_CLOSED if open_s > polling.every_s + HANDOVER_S else None


def next_wait(report: TickReport, polling: Intervals, last_s: float) -> float:
    """Seconds until the next tick: none while a verb hit its limit, else the poll interval while
    there is work, and with none left twice the last wait, up to the idle interval."""
    if report.saturated:
        return 0.0
    if report or polling.busy:
        return polling.poll_s
    return min(max(2 * last_s, polling.poll_s), polling.idle_s)
