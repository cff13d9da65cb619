"""The Prefect flow: wiring only. One run is one window of the poll loop."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from prefect import State, flow, get_run_logger
from prefect.states import Failed

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import Settings, load_settings
from reconciler.contract.store import Store
from reconciler.dispatch import settled
from reconciler.embedded import acquire
from reconciler.poll import poll
from reconciler.spawners.choose import make_spawner


@flow(name="reconcile", description="Tick, wait, tick, until the window closes.")
async def reconcile() -> str | State[str]:
    """Run one window; returns one line: why the loop left, and what its ticks did.

    The run fails with a sentence where a person has something to mend: no database, a schema that
    this code does not know.

    The loop leaves between two ticks on SIGTERM, which is how Prefect cancels, and when the worker
    that started this run has died: what the run would report then reaches nobody.
    """
    log, stop = get_run_logger().info, Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watch = asyncio.create_task(_stop_when_orphaned(stop))
    try:
        outcome = await asyncio.to_thread(_run_window, load_settings(), stop, log)
    except TracerError as error:
        return Failed(message=str(error))  # for a person to mend: a sentence, not a traceback
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
    log(outcome)
    return outcome


def _run_window(settings: Settings, stop: Event, log: Callable[[str], None]) -> str:
    url = settings.database_url or acquire(settings.home)
    with Store.connect(url) as store, settled(store, make_spawner(settings)) as spawner:
        return poll(store, spawner, stop=stop, log=log)


async def _stop_when_orphaned(stop: Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
    stop.set()
