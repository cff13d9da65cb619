"""The poll loop of one scheduled run: tick, wait, tick."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from time import monotonic

import psycopg

from reconciler.contract.outage import Outage, first_line
from reconciler.contract.session import CONFLICTS, ENDED_ALONE
from reconciler.contract.store import Intervals, Store
from reconciler.spawners.protocol import Spawner
from reconciler.tick import TickReport, tick

# A scheduled run starts 2 to 17 s late (Prefect's process worker, measured). So the older loop
# stays for a minute after its interval: the newer loop always takes over from one that still runs.
HANDOVER_S = 60
# After an outage the workers get a head start, to write their results: their leases may be over,
# and a tick would repeat the work. The workers' waits double too, from half a second on, so their
# last wait can be half a second longer than the outage so far. Then they have to connect.
HEADSTART_S = 6.0  # at most
CONNECT_S = 1.0
# If ticks come faster, only some check which verbs have work. A check costs little, except beside
# an old snapshot. The verbs that need one may come half a second later.
CHECK_EVERY_S = 0.5
# While rows move, the next tick comes sooner than the poll interval: free capacity is used soon. It
# waits a sixteenth of the time since rows last moved. So after calls of a second it comes 0.06 s
# late at most, and beside calls of minutes it is as rare as the interval says. It also
# waits three times as long as the last tick took: ticks take a quarter of one core at most. (Nine
# times: a tick that came just before the rows of an API of 50 ms were done let it idle. Those went
# through at 1,942 a second instead of 2,149, and those of an API of 1 s at the same pace.) After a
# tick that moved many rows it waits less, in proportion.
QUIET_SHARE = 1 / 16
QUICK_S = 0.03
REST = 3
MANY_ROWS = 25
ENDED_WAIT_S = 1.0  # until the tick after one whose statement was ended


class LeaveReason(StrEnum):
    """Why a loop has left."""

    PAUSED = "paused"
    DONE = "done"
    TAKEN_OVER = "taken_over"
    WINDOW_CLOSED = "window_closed"
    STOPPED = "stopped"

    @property
    def is_done(self) -> bool:
        """Whether all work is done."""
        return self is LeaveReason.DONE


LEAVE_TEXTS = {
    LeaveReason.PAUSED: "polling is paused",
    LeaveReason.DONE: "no batch is left to run",
    LeaveReason.TAKEN_OVER: "a newer loop has taken over",
    LeaveReason.WINDOW_CLOSED: "its window has closed",
    LeaveReason.STOPPED: "it was stopped",
}


@dataclass(frozen=True)
class LoopReport:
    """Why a loop has left, and the sums of its ticks' `TickReport.counts`."""

    reason: LeaveReason
    totals: Counter[str]

    def __str__(self) -> str:
        did = ", ".join(f"{name} {count}" for name, count in self.totals.items() if count)
        return f"Left because {LEAVE_TEXTS[self.reason]}: {did or 'nothing to do'}"


def poll(
    store: Store,
    spawner: Spawner,
    stop: Event,
    log: Callable[[str], None],
    *,
    until_done: bool = False,
    on_tick: Callable[[TickReport], None] | None = None,
    on_quiet: Callable[[float], None] | None = None,
) -> LoopReport:
    """Tick and wait, until there is a reason to leave.

    `on_tick` gets the report of each tick that did something; without it, `log` gets the report.
    `on_quiet` gets the seconds since a tick has done something, after each that did nothing.
    `log` also gets a line when the database goes away and one when it is back. The loop waits for a
    database that is away.

    The loop leaves when a newer loop takes over, when polling is paused, when its window (the
    schedule's interval plus `HANDOVER_S`) closes, or when `stop` is set: all checked between ticks.
    With `until_done` it has no window, does not take over, and leaves when no batch is left to run.
    The intervals are read before every tick.
    """
    generation = begun = None
    opened, checked, wait_s, totals = monotonic(), 0.0, 0.0, Counter[str]()
    moved = opened
    outage, away = Outage(log), False
    while not stop.wait(wait_s):
        try:
            if begun is None:
                generation, begun = begin(store, log, until_done), True
            polling = store.beat()
            if away:
                away, wait_s = False, min(outage.duration_s + CONNECT_S, HEADSTART_S)
                continue
            if reason := why_leave(polling, generation, monotonic() - opened, until_done):
                return LoopReport(reason, totals)
            started = monotonic()
            check_due = started - checked >= CHECK_EVERY_S
            report = tick(store, spawner, polling.now, check_due)
            if on_quiet and not report:
                on_quiet(monotonic() - moved)
        except psycopg.OperationalError as error:
            away = away or not isinstance(error, (*CONFLICTS, *ENDED_ALONE))
            wait_s = outage.wait(error) if away else wait_after(error, log)
            continue
        outage.over()
        if check_due or not report:
            checked = monotonic() if report else 0.0
        totals.update(report.counts())
        if report:
            on_tick(report) if on_tick else log(str(report))
        ended = monotonic()
        moved = ended if report else moved
        wait_s = next_wait(report, polling, wait_s, ended - started, ended - moved)
    return LoopReport(LeaveReason.STOPPED, totals)


def begin(store: Store, log: Callable[[str], None], until_done: bool) -> int | None:
    """Become the newest loop, unless it is `until_done`, and tidy the logs; returns its number."""
    if store.session.warning:
        log(store.session.warning)
    generation = None if until_done else store.take_over()
    store.prune(store.now())
    return generation


def wait_after(error: psycopg.OperationalError, log: Callable[[str], None]) -> float:
    """The seconds until the tick after one that failed, though the database is there.

    That tick finds all of it again. A conflict with another program's transaction is nothing to
    speak of.
    """
    if isinstance(error, CONFLICTS):
        return QUICK_S
    log(f"The database ended a statement, and the next tick repeats it: {first_line(error)}")
    return ENDED_WAIT_S


def why_leave(
    polling: Intervals, generation: int | None, open_s: float, until_done: bool
) -> LeaveReason | None:
    """The reason to leave before the next tick, None if there is none.

    `open_s`: seconds since the loop started.
    """
    if polling.paused:
        return LeaveReason.PAUSED
    if until_done:
        return None if polling.busy else LeaveReason.DONE
    if polling.generation != generation:
        return LeaveReason.TAKEN_OVER
    return LeaveReason.WINDOW_CLOSED if open_s > polling.every_s + HANDOVER_S else None


def next_wait(
    report: TickReport, polling: Intervals, last_s: float, took_s: float, quiet_s: float
) -> float:
    """Seconds until the next tick.

    0 after a tick that reached a limit (`saturated`). While there is work, the poll interval at
    most, and less while rows move: see `QUICK_S`. Else twice the last wait, at most the idle
    interval. `took_s` is how long the tick took, `quiet_s` the time since one did something.
    """
    if report.saturated:
        return 0.0
    if report or polling.busy:
        rest_s = REST * took_s / max(1.0, (report.advanced + report.claimed) / MANY_ROWS)
        return min(max(QUICK_S, rest_s, quiet_s * QUIET_SHARE), polling.poll_s)
    return min(max(2 * last_s, polling.poll_s), polling.idle_s)
