"""The Prefect flow: one run is one poll loop."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from time import monotonic

import psycopg
from prefect import State, flow, get_run_logger
from prefect.states import Completed, Failed

from reconciler.contract.errors import BadInput, TracerError, Unreachable
from reconciler.contract.outage import Outage, first_line
from reconciler.contract.settings import Settings, load_settings
from reconciler.dispatch import until_answered
from reconciler.local.postgres.supervisor import acquire
from reconciler.poll import LeaveReason, LoopReport, poll
from reconciler.prefect.artifact import BatchTable
from reconciler.prefect.events import AnnouncingStore
from reconciler.spawners.choose import make_spawner

PATIENCE_S = 300.0  # how long a starting run waits for a database that is away


@flow(name="reconcile", description="Tick, wait, tick, until the window closes.")
async def reconcile() -> State[str]:
    """Run one poll loop; returns one line: why the loop left, and what its ticks did.

    The run fails, with a clear message, if a person has to fix something: there is no database, or
    its schema has another revision than this code. The run does not fail if a newer loop takes
    over, if polling is paused, if there is nothing to do, or if the database is away for a while.

    The loop leaves between two ticks on SIGTERM, which is how Prefect cancels. It also leaves when
    the Prefect worker that started this run has died: nothing could receive the run's report.
    """
    log, stop = get_run_logger().info, Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watch = asyncio.create_task(_stop_when_orphaned(stop))
    try:
        outcome = await _run_window(load_settings(), stop, log)
    except TracerError as error:
        return Failed(message=str(error))  # a message, no traceback: a person can fix it
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
    log(outcome)
    return Completed(message=outcome, data=outcome)


async def _run_window(settings: Settings, stop: Event, log: Callable[[str], None]) -> str:
    url = await asyncio.to_thread(_database_url, settings)
    table = BatchTable(url, log)
    try:
        async with table.kept_current():
            outcome = await asyncio.to_thread(_poll, url, settings, stop, log)
    except BadInput as error:
        if settings.database_url:
            raise
        says = f"DATABASE_URL is not set where this run was started. {error.says}"
        raise BadInput(says, error.fix) from error
    await table.write(outcome)
    return outcome


def _database_url(settings: Settings) -> str:
    return settings.database_url or acquire(settings.home)


def _poll(url: str, settings: Settings, stop: Event, log: Callable[[str], None]) -> str:
    """Run the loop; wait for a database that is away before the first tick, as `poll` does later.

    Raises:
        Unreachable: the database has been away for `PATIENCE_S`.
    """
    outage, deadline = Outage(log), monotonic() + PATIENCE_S
    while True:
        try:
            with (
                AnnouncingStore.connect(url) as store,
                until_answered(store, make_spawner(settings)) as spawner,
            ):
                outage.over()
                return str(poll(store, spawner, stop=stop, log=log))
        except (Unreachable, psycopg.OperationalError) as error:
            if monotonic() > deadline:
                raise Unreachable(
                    f"The database has not answered for {PATIENCE_S:g} s. {first_line(error)}"
                ) from error
            if stop.wait(outage.wait(error)):
                return str(LoopReport(LeaveReason.STOPPED, Counter()))


async def _stop_when_orphaned(stop: Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    stop.set()
