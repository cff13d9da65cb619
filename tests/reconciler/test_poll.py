"""The loop: who may tick, how long it waits, when it leaves."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from reconciler import poll as module
from reconciler.contract.store import Intervals
from reconciler.poll import next_wait, poll
from reconciler.tick import TickReport
from tests.world import World

NOTHING = TickReport(0, 0, 0, 0, 0, 0, 0, 0, 0)
CLAIMED = replace(NOTHING, claimed=5, spawned=5)


def quick(world: World) -> None:
    world.operator.set_polling(poll_s=0.01, idle_s=0.05)


def one_loop(
    world: World, at: Callable[[str], None] = lambda _: None, **options: bool
) -> tuple[str, list[str]]:
    """Run a loop to its end; `at` sees each line that it logs."""
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        at(line)

    return str(poll(world.store, world.spawner, Event(), log, **options)), lines


def test_a_loop_leaves_before_its_next_tick_once_polling_is_paused(world: World) -> None:
    quick(world)
    world.seed(3)
    ended, lines = one_loop(world, lambda _: world.operator.set_polling(paused=True))
    assert ended == "Left because polling is paused: claimed 3, spawned 3"
    assert lines == ["claimed 3, spawned 3"]


def test_the_newest_loop_takes_over_and_the_older_one_leaves(world: World) -> None:
    quick(world)
    world.seed(3)
    ended, _ = one_loop(world, lambda _: world.store.take_over())
    assert ended.startswith("Left because a newer loop has taken over")


def test_a_loop_leaves_when_its_window_closes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(world)
    world.operator.set_polling(every_s=0.05)
    monkeypatch.setattr(module, "HANDOVER_S", 0.05)
    assert one_loop(world)[0] == "Left because its window has closed: nothing to do"


def test_a_loop_that_is_told_to_stop_leaves_between_two_ticks(world: World) -> None:
    quick(world)
    stop = Event()
    stop.set()
    assert str(poll(world.store, world.spawner, stop, print)) == (
        "Left because it was stopped: nothing to do"
    )


def test_a_loop_says_how_long_nothing_has_moved(world: World) -> None:
    quick(world)
    world.seed(3)
    quiet: list[float] = []

    def on_quiet(seconds: float) -> None:
        assert lines == ["claimed 3, spawned 3"]
        quiet.append(seconds)
        if len(quiet) == 5:
            world.operator.set_polling(paused=True)

    lines: list[str] = []
    poll(world.store, world.spawner, Event(), lines.append, on_quiet=on_quiet)
    assert quiet == sorted(quiet)
    assert 0 < quiet[0] < quiet[-1]


def test_until_done_ends_with_the_last_batch(world: World) -> None:
    quick(world)
    world.seed(3, ["normalize", "step_a"])

    def work(_: str) -> None:
        world.work("normalize")
        world.work("step_a")

    ended, lines = one_loop(world, work, until_done=True)
    assert ended.startswith("Left because no batch is left to run: ")
    assert lines[-1] == "advanced 3, finished 1"


def test_only_ticks_that_did_something_are_logged(world: World) -> None:
    world.operator.set_polling(poll_s=0.01, idle_s=0.01)
    stop, lines = Event(), list[str]()
    loop = Thread(target=poll, args=(world.store, world.spawner, stop, lines.append))
    loop.start()
    world.seed(2)
    while not lines:
        assert loop.is_alive()
    stop.set()
    loop.join()
    assert lines == ["claimed 2, spawned 2"]


def polling(world: World, **changes: object) -> Intervals:
    return Intervals(**{**vars(world.store.beat()), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("took_s", "quiet_s", "waits_s"),
    [
        (0.001, 0.0, 0.03),  # rows move: capacity that is free is used soon
        (0.02, 0.0, 0.06),  # a tick that takes long rests long
        (0.001, 4.0, 0.25),  # the longer nothing moves, the longer it waits
        (0.001, 60.0, 2.0),  # the poll interval at most
        (1.0, 0.0, 2.0),
    ],
)
def test_while_there_is_work_the_loop_waits_as_long_as_rows_do(
    world: World, took_s: float, quiet_s: float, waits_s: float
) -> None:
    busy = polling(world, poll_s=2.0, idle_s=60.0, busy=True)
    assert next_wait(NOTHING, busy, 0, took_s, quiet_s) == pytest.approx(waits_s)
    last = polling(world, poll_s=2.0, idle_s=60.0, busy=False)
    assert next_wait(CLAIMED, last, 0, took_s, quiet_s) == pytest.approx(waits_s)


def test_with_no_work_the_wait_doubles_up_to_the_idle_interval(world: World) -> None:
    idle = polling(world, poll_s=2.0, idle_s=10.0, busy=False)
    waits = [0.0]
    for _ in range(5):
        waits.append(next_wait(NOTHING, idle, waits[-1], 0.001, 60.0))
    assert waits == [0, 2, 4, 8, 10, 10]


def test_a_tick_that_reached_its_limit_is_followed_at_once(world: World) -> None:
    full = replace(NOTHING, advanced=10_000)
    assert next_wait(full, polling(world, busy=True), 1.0, 1.0, 0.0) == 0


def test_an_interval_that_is_tuned_is_read_at_the_next_tick(world: World) -> None:
    world.operator.set_polling(poll_s=0.25)
    assert world.store.beat().poll_s == 0.25


def test_a_database_that_goes_away_is_waited_for(world: World, url: str) -> None:
    """One line when it goes, one when it is back, and the work goes on."""
    lines = disturbed(world, url, "pg_terminate_backend")
    assert lines[1].startswith("The database is away, waiting for it: ")
    assert lines[2:] == ["The database is back"]


def test_a_statement_that_is_cancelled_is_no_outage(world: World, url: str) -> None:
    lines = disturbed(world, url, "pg_cancel_backend")
    assert lines[1].startswith("The database ended a statement, and the next tick repeats it: canc")
    assert lines[2:] == []


def disturbed(world: World, url: str, by: str) -> list[str]:
    """What a loop logs whose second beat is ended by this function, and which goes on after."""
    quick(world)
    world.seed(3)

    def end(locked: psycopg.Connection[Any]) -> None:
        world.wait_for_blocked()
        blocked = (
            f"SELECT {by}(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        locked.execute(blocked.encode())
        locked.close()

    def disturb(line: str) -> None:
        if line == "claimed 3, spawned 3":
            locked = psycopg.connect(url)
            locked.execute("LOCK TABLE polling")
            Thread(target=end, args=(locked,)).start()
        elif not line.startswith("The database is away"):
            world.operator.set_polling(paused=True)

    ended, lines = one_loop(world, disturb)
    assert ended.startswith("Left because polling is paused")
    return lines


def test_a_tick_that_moved_many_rows_rests_less(world: World) -> None:
    busy = polling(world, poll_s=2.0, idle_s=60.0, busy=True)
    few, many = replace(NOTHING, claimed=25), replace(NOTHING, claimed=100, advanced=100)
    assert next_wait(few, busy, 0, 0.1, 0.0) == pytest.approx(0.3)
    assert next_wait(many, busy, 0, 0.1, 0.0) == pytest.approx(0.3 / 8)
