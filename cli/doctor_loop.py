"""What `tracer doctor` asks of the loop: does it tick, does Prefect start the next one, and is a
local worker host there."""

import time
from functools import cached_property
from urllib.parse import urlsplit

from cli.connect import operator
from cli.finding import Check, Fault
from cli.outside import look_at_prefect
from cli.render import say, seconds
from cli.schedule import Schedule
from cli.stack import accepts
from reconciler.contract.database import Row
from reconciler.contract.errors import TracerError
from reconciler.contract.explain import CONDUCTOR_MENDS, HOST, RESUME_POLLING
from reconciler.contract.facts import Conductor, is_silent
from reconciler.contract.settings import load_settings, workers_socket
from reconciler.contract.wording import since
from reconciler.poll import HANDOVER_S

HERE = ("127.0.0.1", "localhost", "::1")
LOOK_AGAIN_S = 0.5
UNUSED = (Conductor.UNKNOWN, Conductor.NOT_DEPLOYED)


class Loop:
    """The checks of one run of doctor, which asks Prefect once."""

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
            polling = await_tick(polling)
        heard = polling["ticked_at"] and since(polling["ticked_at"], polling["now"])
        if ticks(polling):
            return f"ticked at {heard}"
        says = f"No loop has ticked since {heard}" if heard else "No loop has ever ticked"
        raise Fault(says, CONDUCTOR_MENDS[self._prefect[0]])

    def prefect(self) -> str:
        """Prefect starts the next run, or is not what starts them."""
        state, found, error = self._prefect
        if state is Conductor.WELL and found:
            return f"{found.api_url}, a run every {seconds(found.every_s)}"
        if self.unused():
            return f"not used: {state}, and the loop ticks without it"
        where = f" ({found.api_url})" if found else ""
        raise Fault(error or f"{state[0].upper()}{state[1:]}{where}", mend_prefect(state, error))

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
        """A local call finds its host."""
        where = workers_socket(load_settings().home)
        if accepts(where):
            return f"the worker host listens at {where}"
        if self.unused():
            return "no worker host runs here; `tracer reconcile` starts one for its ticks"
        raise Fault("No worker host is running", HOST)

    def unused(self) -> bool:
        """Whether a loop ticks though Prefect is not set up to start one: cron's, or a person's."""
        try:
            return self._prefect[0] in UNUSED and ticks(read_polling())
        except TracerError:
            return False


def read_polling() -> Row:
    """The row that every tick reads.

    Raises:
        Fault: someone has deleted it.
    """
    with operator() as store:
        try:
            return store.polling()
        except IndexError as error:
            raise Fault(
                "The table `polling` has no row",
                "psql \"$DATABASE_URL\" -c 'INSERT INTO polling DEFAULT VALUES'",
            ) from error


def await_tick(polling: Row) -> Row:
    """The intervals after the next tick, or when it is clear that none comes.

    Where no schedule starts the next loop, a tick from before this one died says nothing. One that
    polls ticks within the idle interval, and cron's within the minute.
    """
    last = polling["ticked_at"]
    say(f"Waiting for the next tick; the last one was at {since(last, polling['now'])}.")
    while ticks(polling) and polling["ticked_at"] == last:
        time.sleep(LOOK_AGAIN_S)
        polling = read_polling()
    return polling


def ticks(polling: Row) -> bool:
    """Whether some loop ticks at present."""
    silent = is_silent(polling["now"], polling["ticked_at"], polling["idle_s"])
    return not polling["paused"] and not silent


def mend_prefect(state: Conductor, error: str) -> str:
    """The command that brings the runs."""
    if state is not Conductor.UNREACHABLE:
        return CONDUCTOR_MENDS[state]
    hosts = (urlsplit(word.strip("(),.")).hostname for word in error.split() if "://" in word)
    return "prefect server start" if next(hosts, None) in HERE else "prefect config view"
