"""Tick, wait, tick: what one scheduled run does with its window."""

from collections import Counter
from collections.abc import Callable
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


def poll(
    store: Store,
    spawner: Spawner,
    stop: Event,
    log: Callable[[str], None],
    *,
    until_done: bool = False,
) -> str:
    """Tick until told to leave; returns one line: why it left, and what its ticks did.

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
                away, wait_s = False, min(outage.lasts_s + CONNECT_S, HEADSTART_S)
                continue
            if reason := why_leave(polling, generation, monotonic() - opened, until_done):
                return summary(reason, totals)
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
            log(str(report))
        wait_s = next_wait(report, polling, wait_s)
    return summary("told to stop", totals)


def why_leave(
    polling: Intervals, generation: int | None, open_s: float, until_done: bool
) -> str | None:
    """The reason for a loop to leave before its next tick, if there is one."""
    if polling.paused:
        return "polling is paused"
    if until_done:
        return None if polling.busy else "no batch is left to run"
    if polling.generation != generation:
        return "a newer loop has taken over"
    return "its window has closed" if open_s > polling.every_s + HANDOVER_S else None


def next_wait(report: TickReport, polling: Intervals, last_s: float) -> float:
    """Seconds until the next tick: none while a verb hit its limit, else the poll interval while
    there is work, and with none left twice the last wait, up to the idle interval."""
    if report.saturated:
        return 0.0
    if report or polling.busy:
        return polling.poll_s
    return min(max(2 * last_s, polling.poll_s), polling.idle_s)


def summary(reason: str, totals: Counter[str]) -> str:
    """One line on a loop that has left."""
    did = ", ".join(f"{name} {count}" for name, count in totals.items() if count)
    return f"Left because {reason}: {did or 'nothing to do'}"
