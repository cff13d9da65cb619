"""What `tracer doctor` asks of the loop: does it tick, does Prefect start the next one, and is a
local worker host there."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import urlsplit

from reconciler.contract.database import Row
from reconciler.contract.errors import NoPolling, TracerError
from reconciler.contract.settings import load_settings, workers_socket
from reconciler.local.worker_host import NO_HOST, ask_host, host_fix
from reconciler.operator.diagnosis.doctor import Check, Fault, Finding, Tables
from reconciler.operator.diagnosis.observers import at_server, look_at_prefect
from reconciler.operator.diagnosis.read_only import looking
from reconciler.operator.diagnosis.row_facts import Conductor, is_silent
from reconciler.operator.diagnosis.rules.loop import RESUME_POLLING, conductor_fix, conductor_says
from reconciler.operator.sql.health import NEEDED
from reconciler.operator.wording import seconds, since, span
from reconciler.poll import HANDOVER_S
from reconciler.prefect.schedule import Schedule

HERE = ("127.0.0.1", "localhost", "::1")
LOOK_AGAIN_S = 0.5
CRON = timedelta(seconds=65)  # within which cron's next tick comes
STARTS_S = 30.0  # that a run of Prefect's takes at most until its first tick: 2 to 17, and 8 more
UNUSED = (Conductor.UNKNOWN, Conductor.NOT_DEPLOYED)


class Loop:
    """The checks of one run of doctor, which asks Prefect once; `findings` are those so far."""

    def __init__(
        self, findings: Sequence[Finding], tables: Tables, say: Callable[[str], None]
    ) -> None:
        self._findings = findings
        self._tables = tables
        self._say = say
        self._unseen = False  # whether no next tick was seen, or waited for

    def checks(self) -> dict[str, Check]:
        """The loop and its schedule."""
        return {"loop": self.loop, "prefect": self.prefect, "window": self.window}

    @cached_property
    def _prefect(self) -> tuple[Conductor, Schedule | None, str]:
        return look_at_prefect(load_settings())

    def loop(self) -> str:
        """Some loop ticks."""
        polling = read_polling()
        if polling["paused"]:
            raise Fault("Polling is paused", RESUME_POLLING)
        if ticks(polling) and self._prefect[0] in UNUSED:
            polling = self._next_tick(polling)
        elif not ticks(polling) and self._prefect[0] is Conductor.WELL:
            polling = self._first_tick(polling)
        heard = polling["ticked_at"] and since(polling["ticked_at"], polling["now"])
        if ticks(polling) and not self._unseen:
            return f"ticked at {heard}"
        says = f"No loop has ticked since {heard}" if heard else "No loop has ever ticked"
        if heard and polling["now"] - polling["ticked_at"] < CRON:
            says = f"Last ticked at {heard}, and nothing is seen that would start the next one"
        raise Fault(says, self._fix())

    def _next_tick(self, polling: Row) -> Row:
        """The intervals after the next tick, which is waited for only where all else is well."""
        self._unseen = True
        if all(finding.ok for finding in self._findings):
            last, polling = polling["ticked_at"], await_tick(polling, self._say)
            self._unseen = polling["ticked_at"] == last
        return polling

    def _first_tick(self, polling: Row) -> Row:
        """The intervals once a run ticks that Prefect may be starting, where all else is well."""
        if all(finding.ok for finding in self._findings):
            self._say(f"Waiting for the run that Prefect is starting, {STARTS_S:g} s at most.")
            deadline = time.monotonic() + STARTS_S
            while not ticks(polling) and time.monotonic() < deadline:
                time.sleep(LOOK_AGAIN_S)
                polling = read_polling()
        return polling

    def _fix(self) -> str | None:
        state, found, _ = self._prefect
        names = (found.pool, found.queue) if found else (None, None)
        return at_server(conductor_fix(state, *names))

    def prefect(self) -> str:
        """Prefect starts the next run, or is not what starts them."""
        state, found, error = self._prefect
        if state is Conductor.WELL and found:
            return f"{found.api_url}, a run every {seconds(found.every_s)}"
        if self.unused():
            return f"not used: {state}, and the loop ticks without it"
        where = f" ({found.api_url})" if found else ""
        how = conductor_says(state, found.next_run_at if found else None, datetime.now(UTC))
        fix = unreachable_fix(error) if state is Conductor.UNREACHABLE else self._fix()
        raise Fault(error or f"{how[0].upper()}{how[1:]}{where}", fix)

    def window(self) -> str:
        """A loop stays until the next one comes."""
        _, found, _ = self._prefect
        if not found or found.every_s is None:
            return "there is no schedule to fit"
        stays_s = read_polling()["every_s"] + HANDOVER_S
        every = f"a run comes every {seconds(found.every_s)}, and stays for {seconds(stays_s)}"
        if found.every_s > stays_s:
            says = f"{every[0].upper()}{every[1:]}"
            raise Fault(says, f"tracer interval set --every {found.every_s:g}s")
        return every

    def workers(self) -> str:
        """A local call finds its host, and that its step."""
        settings = load_settings()
        host = ask_host(settings)
        if host.fault == NO_HOST and self.unused():
            return f"{NO_HOST}; `tracer reconcile` starts one for its ticks"
        faults = [host.fault, *map(host.lacks, needed_here(self._tables))]
        if fault := next(filter(None, faults), None):
            again = "" if host.fault == NO_HOST else ": start it anew"
            raise Fault(f"{fault[0].upper()}{fault[1:]}{again}", host_fix(settings, host))
        return f"the worker host listens at {workers_socket(settings.home)}"

    def unused(self) -> bool:
        """Whether a loop ticks though Prefect is not set up to start one: cron's, or a person's."""
        try:
            return self._prefect[0] in UNUSED and not self._unseen and ticks(read_polling())
        except TracerError:
            return False


def read_polling() -> Row:
    """The row that every tick reads.

    Raises:
        Fault: someone has deleted it.
    """
    with looking() as store:
        try:
            return store.polling()
        except NoPolling as error:
            raise Fault(error.says, error.fix) from error


def needed_here(tables: Tables) -> list[str]:
    """The steps of running batches whose code is here; none where another part is not well."""
    try:
        with looking() as store:
            needed = {row["step"] for row in store.rows(NEEDED)}
        return sorted(needed & set(tables()))
    except TracerError:
        return []


def await_tick(polling: Row, say: Callable[[str], None]) -> Row:
    """The intervals after the next tick, or when it is clear that none comes.

    Where no schedule starts the next loop, a tick from before this one died says nothing. Cron's
    next one comes within the minute.
    """
    last, now = polling["ticked_at"], polling["now"]
    if now - last < CRON:
        most, ago = span(last + CRON - now), span(now - last)
        say(f"Waiting for the next tick, {most} at most; the last one was {ago} ago.")
    while ticks(polling) and polling["ticked_at"] == last and polling["now"] - last < CRON:
        time.sleep(LOOK_AGAIN_S)
        polling = read_polling()
    return polling


def ticks(polling: Row) -> bool:
    """Whether some loop ticks at present."""
    silent = is_silent(polling["now"], polling["ticked_at"], polling["idle_s"])
    return not polling["paused"] and not silent


def unreachable_fix(error: str) -> str:
    """The command that brings a Prefect server, or tells where it should be."""
    hosts = (urlsplit(word.strip("(),.")).hostname for word in error.split() if "://" in word)
    return "prefect server start" if next(hosts, None) in HERE else "prefect config view"
