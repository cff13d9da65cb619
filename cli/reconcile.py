"""`tracer reconcile`: ticks without Prefect, for cron or by hand."""

import signal
from shlex import quote
from threading import Event
from typing import Annotated

import typer

from cli.render import AsJson, answer, say
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.settings import load_settings
from reconciler.contract.store import Store
from reconciler.dispatch import until_answered, wait_for_answers
from reconciler.failures import failed_since, newest
from reconciler.local.worker_host import running_host
from reconciler.operator.connect import database_url
from reconciler.operator.diagnosis.rules.loop import POLLING_PAUSED
from reconciler.operator.diagnosis.standstill import standstill
from reconciler.poll import LeaveReason, poll
from reconciler.spawners.choose import make_spawner
from reconciler.tick import tick

QUIET_S = 3.0


def reconcile(
    once: Annotated[bool, typer.Option("--once", help="Run one tick.")] = False,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Run ticks until all batches have ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run ticks without Prefect: one, or until every batch is done.

    With --until-done, exit code 1 if rows of these batches have failed. While nothing moves, as
    under a full cap, it says why, and waits.
    """
    if once == until_done:
        raise BadInput("Add either --once or --until-done.")
    settings = load_settings()
    url = database_url(settings)
    with (
        Store.connect(url) as store,
        running_host(settings, url) as no_host,
        until_answered(store, make_spawner(settings, no_host)) as spawner,
    ):
        if once:
            polling = store.beat()
            if polling.paused:
                answer(as_json, {"left": LeaveReason.PAUSED}, str(POLLING_PAUSED))
                return
            report = tick(store, spawner, polling.now)
            report = report.with_late(wait_for_answers(store, spawner, polling.now))
            answer(as_json, report.counts(), str(report) or "Nothing to do.")
            return
        stop = Event()
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        since = newest(store)
        loop = poll(store, spawner, stop, say, until_done=True, on_quiet=Standstill(store))
        failures = failed_since(store, since) if loop.reason.is_done else {}
        answer(as_json, {"left": loop.reason, **loop.totals, "failures": failures}, str(loop))
    require_none(failures)


class Standstill:
    """Says what all rows wait for, once per reason, where nothing has moved for `QUIET_S`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_s = 0.0  # how long it was quiet at the last look
        self._said = set[str]()

    def __call__(self, quiet_s: float) -> None:
        """Nothing has moved for so many seconds."""
        self._looked_s = min(self._looked_s, quiet_s)  # rows have moved since
        if quiet_s - self._looked_s < QUIET_S:
            return
        self._looked_s = quiet_s
        for reason in standstill(self._store):
            what = reason.fix or reason.code
            if what not in self._said:
                self._said.add(what)
                say(f"Nothing moves. {str(reason).removesuffix('.')}.")


def require_none(failures: dict[str, int]) -> None:
    """Do nothing if no batch has failed rows.

    Raises:
        WorkFailed: some have.
    """
    if failures:
        told = ", ".join(f"{count:,} of batch {name!r}" for name, count in failures.items())
        first = quote(next(iter(failures)))
        raise WorkFailed(f"Rows have failed: {told}. To see why", f"tracer inspect {first}")
