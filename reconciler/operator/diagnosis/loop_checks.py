"""What doctor asks of the loop: does it tick, does Prefect start the next one, is a host there."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from reconciler.contract.errors import NoPolling, TracerError
from reconciler.contract.settings import load_settings, workers_socket
from reconciler.local.worker_host import ask_host, host_fix
from reconciler.operator.diagnosis.database_checks import Tables
from reconciler.operator.diagnosis.observers import observe_prefect
from reconciler.operator.diagnosis.read_only import read_only_store
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import LoopFacts, Observed
from reconciler.operator.diagnosis.rules import loop as rules
from reconciler.operator.diagnosis.rules import workers
from reconciler.operator.diagnosis.rules.loop import CRON
from reconciler.operator.sql.health import NEEDED
from reconciler.operator.wording import seconds, since, span
from reconciler.poll import HANDOVER_S

PAUSE_S = 0.5
STARTS_S = 30.0  # that a run of Prefect's takes at most until its first tick: 2 to 17, and 8 more


class LoopChecks:
    """The checks of one run of doctor, which asks Prefect once.

    `all_well` says whether the parts before have no fault: only then is a tick waited for.
    """

    def __init__(
        self, all_well: Callable[[], bool], tables: Tables, say: Callable[[str], None]
    ) -> None:
        self._all_well = all_well
        self._tables = tables
        self._say = say
        self._no_next = False  # whether no next tick was seen, or waited for

    @cached_property
    def _seen(self) -> Observed:
        return observe_prefect(load_settings())

    def loop(self) -> str | Reason:
        """Some loop ticks, and goes on."""
        try:
            found = read_loop()
        except NoPolling:
            return rules.polling_row_missing()
        for off in rules.switched_off(found):
            return off
        if not found.silent and self._without_prefect:
            found = self._next_tick(found)
        elif found.silent and not self._seen.prefect:
            found = self._first_tick(found)
        if found.ticked_at is None or found.silent or self._no_next:
            return rules.no_next_tick(replace(found, observed=self._seen))
        return f"ticked at {since(found.ticked_at, found.now)}"

    def _next_tick(self, found: LoopFacts) -> LoopFacts:
        """The loop after its next tick: without a schedule, the last one proves nothing."""
        self._no_next = True
        if self._all_well():
            last, found = found.ticked_at, await_tick(found, self._say)
            self._no_next = found.ticked_at == last
        return found

    def _first_tick(self, found: LoopFacts) -> LoopFacts:
        """The loop once a run ticks that Prefect may be starting."""
        if self._all_well():
            self._say(f"Waiting for the run that Prefect is starting, {STARTS_S:g} s at most.")
            deadline = time.monotonic() + STARTS_S
            while found.silent and time.monotonic() < deadline:
                time.sleep(PAUSE_S)
                found = read_loop()
        return found

    def prefect(self) -> str | Reason:
        """Prefect starts the next run, or is not what starts them."""
        fault, found = self._seen.prefect, self._seen.schedule
        if fault and self._unused():
            return f"not used: {fault.says}. The loop ticks without it"
        if fault:
            return replace(fault, says=f"{fault.says} ({found.api_url})") if found else fault
        assert found is not None  # without a fault there was an answer
        return f"{found.api_url}, a run every {seconds(found.every_s)}"

    def window(self) -> str | Reason:
        """A loop stays until the next one comes."""
        found = self._seen.schedule
        if not found or found.every_s is None:
            return "there is no schedule to fit"
        with read_only_store() as store:
            stays_s = store.polling()["every_s"] + HANDOVER_S
        fits = f"run comes every {seconds(found.every_s)}, and stays for {seconds(stays_s)}"
        if found.every_s > stays_s:
            fix = f"tracer interval set --every {found.every_s:g}s"
            return Reason(Code.SCHEDULE_GAP, f"A {fits}", fix)
        return f"a {fits}"

    def workers(self) -> str | Reason:
        """A local call finds its host, and that has its step."""
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
        """Whether a loop ticks though Prefect is not set up to start one: cron's, or a person's."""
        try:
            if not self._without_prefect or self._no_next:
                return False
            found = read_loop()
            return not (found.polling_paused or found.silent)
        except TracerError:
            return False


def read_loop() -> LoopFacts:
    """The loop as the database knows it.

    Raises:
        NoPolling: somebody has deleted its row.
    """
    with read_only_store() as store:
        return LoopFacts.of(store.polling())


def steps_needed_here(tables: Tables) -> list[str]:
    """The steps of running batches whose code is here; none where another part is not well."""
    try:
        with read_only_store() as store:
            needed = {row["step"] for row in store.rows(NEEDED)}
        return sorted(needed & set(tables()))
    except TracerError:
        return []


def await_tick(found: LoopFacts, say: Callable[[str], None]) -> LoopFacts:
    """The loop after its next tick, or when cron's should have come."""
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
