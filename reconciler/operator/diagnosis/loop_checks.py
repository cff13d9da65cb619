"""Doctor's checks of the loop: it ticks, Prefect starts the next run, a worker host is running."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from reconciler.contract.errors import NoPolling, TracerError
from reconciler.contract.settings import load_settings, workers_socket
from reconciler.local.worker_host import ask_host, host_fix
from reconciler.operator.diagnosis.database_checks import Tables
from reconciler.operator.diagnosis.observers import observe_prefect
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import LoopFacts, Observed
from reconciler.operator.diagnosis.rules import loop as rules
from reconciler.operator.diagnosis.rules import workers
from reconciler.operator.diagnosis.rules.loop import CRON, LATE
from reconciler.operator.read_only import read_only_store
from reconciler.operator.sql.health import NEEDED
from reconciler.operator.wording import seconds, since, span, until
from reconciler.poll import HANDOVER_S
from reconciler.prefect.runs import recent_runs

PAUSE_S = 0.5
# Longest time until a run's first tick: Prefect starts it after 2 to 17 s, and it needs 8 s more.
STARTS_S = 30.0


class LoopChecks:
    """The checks of one doctor run; Prefect is asked once for all of them.

    `all_well` says whether the earlier parts have no fault. Only then do the checks wait for a
    tick. `say` gets a sentence before such a wait.
    """

    def __init__(
        self, all_well: Callable[[], bool], tables: Tables, say: Callable[[str], None]
    ) -> None:
        self._all_well = all_well
        self._tables = tables
        self._say = say
        self._no_next = False  # True if a next tick is needed as proof, and none was seen

    @cached_property
    def _seen(self) -> Observed:
        return observe_prefect(load_settings())

    def loop(self) -> str | Reason:
        """A loop ticks, and will go on."""
        try:
            found = read_loop()
        except NoPolling:
            return rules.polling_row_missing()
        for off in rules.switched_off(found):
            return off
        if found.ticked_at is None and (first := self._first_run(found.now)):
            return first
        if not found.silent and self._without_prefect:
            found = self._next_tick(found)
        elif found.silent and not self._seen.prefect:
            found = self._first_tick(found)
        if found.ticked_at is None or found.silent or self._no_next:
            return rules.no_next_tick(replace(found, observed=self._seen))
        return f"ticked at {since(found.ticked_at, found.now)}"

    def _first_run(self, now: datetime) -> str | None:
        """The run that comes, soon after a deploy: Prefect starts none before its interval is over.

        None if it is due at once, so that its tick can be awaited, or if a run was there before.
        """
        planned = self._seen.schedule
        if self._seen.prefect or not planned or not planned.next_run_at or not planned.every_s:
            return None
        wait_s = (planned.next_run_at - now).total_seconds()
        if not STARTS_S < wait_s <= planned.every_s + LATE.total_seconds():
            return None
        if recent_runs(load_settings(), limit=1):
            return None
        return f"no tick yet: Prefect starts its first run at {until(planned.next_run_at, now)}"

    def _next_tick(self, found: LoopFacts) -> LoopFacts:
        """The loop after its next tick.

        Without a schedule a recent tick may have been the last one, so it proves nothing.
        """
        self._no_next = True
        if self._all_well():
            last, found = found.ticked_at, await_tick(found, self._say)
            self._no_next = found.ticked_at == last
        return found

    def _first_tick(self, found: LoopFacts) -> LoopFacts:
        """The loop after the first tick of a run that Prefect may be starting now."""
        if self._all_well():
            self._say(f"Waiting for the run that Prefect is starting, {STARTS_S:g} s at most.")
            deadline = time.monotonic() + STARTS_S
            while found.silent and time.monotonic() < deadline:
                time.sleep(PAUSE_S)
                found = read_loop()
        return found

    def prefect(self) -> str | Reason:
        """Prefect starts the next run, or something else (cron, a person) runs the loop."""
        fault, found = self._seen.prefect, self._seen.schedule
        if fault and self._unused():
            return f"not used: {fault.says}. The loop ticks without it"
        if fault:
            return replace(fault, says=f"{fault.says} ({found.api_url})") if found else fault
        assert found is not None  # no fault means that Prefect answered
        return f"{found.api_url}, a run every {seconds(found.every_s)}"

    def window(self) -> str | Reason:
        """A loop runs until the next one starts: no gap between its window and the next run."""
        found = self._seen.schedule
        if not found or found.every_s is None:
            return "Prefect has no schedule to compare with"
        with read_only_store() as store:
            window_s = store.polling()["every_s"] + HANDOVER_S
        both = f"run starts every {seconds(found.every_s)}, and lasts {seconds(window_s)}"
        if found.every_s > window_s:
            fix = f"tracer interval set --every {found.every_s:g}s"
            return Reason(Code.SCHEDULE_GAP, f"A {both}", fix)
        return f"a {both}"

    def workers(self) -> str | Reason:
        """The local worker host answers, and has the steps of the running batches."""
        settings = load_settings()
        host = ask_host(settings)
        steps = steps_needed_here(self._tables)
        fault = next(workers.host_faults(host, steps, host_fix(settings, host)), None)
        if fault and fault.code == Code.NO_WORKER_HOST and self._unused():
            return f"{fault.says}; `tracer reconcile` starts one for its ticks"
        return fault or f"the worker host listens at {workers_socket(settings.home)}"

    @property
    def _without_prefect(self) -> bool:
        code = self._seen.prefect.code if self._seen.prefect else None
        return code in (Code.PREFECT_UNKNOWN, Code.PREFECT_NOT_DEPLOYED)

    def _unused(self) -> bool:
        """Whether a loop ticks without Prefect: cron or a person runs it."""
        try:
            if not self._without_prefect or self._no_next:
                return False
            found = read_loop()
            return not (found.polling_paused or found.silent)
        except TracerError:
            return False


def read_loop() -> LoopFacts:
    """The loop's state in the database.

    Raises:
        NoPolling: the table `polling` has no row.
    """
    with read_only_store() as store:
        return LoopFacts.of(store.polling())


def steps_needed_here(tables: Tables) -> list[str]:
    """The steps of running batches whose code is here; none if they cannot be read."""
    try:
        with read_only_store() as store:
            needed = {row["step"] for row in store.rows(NEEDED)}
        return sorted(needed & set(tables()))
    except TracerError:
        return []


def await_tick(found: LoopFacts, say: Callable[[str], None]) -> LoopFacts:
    """The loop after its next tick, or after the time in which cron would have started one."""
    last = found.ticked_at
    if last is None:
        return found
    if found.now - last < CRON:
        most, ago = span(last + CRON - found.now), span(found.now - last)
        say(f"Waiting for the next tick, {most} at most; the last one was {ago} ago.")
    while found.ticked_at == last and found.now - last < CRON and not found.polling_paused:
        time.sleep(PAUSE_S)
        found = read_loop()
    return found
