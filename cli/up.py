"""`tracer up`: run the local stack until Ctrl-C."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cli.render import AsJson, answer, err, say
from cli.steps import UP_TO_DATE, synced
from reconciler.contract.settings import Settings, load_settings
from reconciler.local.postgres.supervisor import acquire, release
from reconciler.local.stack import Stack, stack_settings
from reconciler.operator.store import OperatorStore
from reconciler.prefect.schedule import ensure_every
from reconciler.schema.migrate import upgrade_schema
from workers.runtime.loading import load_steps

SEED = "tracer seed FILE --blueprint {}"


def up(as_json: AsJson = False) -> None:
    """Run Postgres, Prefect, the loop and the workers on this machine until Ctrl-C.

    With TRACER_WORKERS=modal, the workers are Modal's.
    """
    settings = load_settings()
    with suppress(KeyboardInterrupt), stack() as (running, _, _):
        steps = ",".join(load_steps(settings.steps, on_fault=lambda _: None))
        where = {"ui_url": running.ui_url, "api_url": running.api_url, "home": settings.home}
        answer(
            as_json,
            where,
            f"Prefect's UI: {running.ui_url}",
            f"Seed a batch in another terminal: {SEED.format(steps)}",
            "Ctrl-C stops everything.",
        )
        while True:
            running.keep_up(settings)
            time.sleep(1)


@contextmanager
def stack(all_here: bool = False) -> Iterator[tuple[Stack, str, str]]:
    """Start all parts in order; yields the stack, the database's URL and the id of the first run.

    At the end it stops all parts that it has started.
    """
    settings = stack_settings(all_here)
    for ends in (signal.SIGTERM, signal.SIGHUP):  # they stop all parts, as Ctrl-C does
        signal.signal(ends, signal.default_int_handler)
    try:
        with Stack() as running:
            try:
                yield running, *start(running, settings)
            except KeyboardInterrupt:
                say(f"Stopping the stack: what is under way has {settings.grace_s:g} s …")
                raise
    finally:
        if not settings.database_url:
            release(settings.home)


def start(running: Stack, settings: Settings) -> tuple[str, str]:
    """Start all parts in order; returns the database's URL and the id of the first run."""
    with err.status("Postgres") as status:
        url = settings.database_url or acquire(settings.home)
        upgrade_schema(url)
        changes, faults = synced(url, settings.steps)
        for line in ["Postgres", *(changes or [UP_TO_DATE]), *faults]:
            say(line)
        status.update("Prefect (20 to 40 s the first time)")
        run_id = running.start(settings, url, say)
        os.environ.pop("PREFECT_API_URL", None)  # from here on, use this stack's Prefect
        with OperatorStore.connect(url) as store:  # Postgres remembers the schedule
            ensure_every(settings, store.polling()["every_s"])
    return url, run_id
