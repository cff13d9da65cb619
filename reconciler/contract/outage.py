"""A database that is away: said once when it goes and once when it is back, and waited for."""

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic

# A pool says so at every try, of every connection: who uses it says it once.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class Outage:
    """What a program says of its database, whichever of its threads finds it away or back."""

    FIRST_S, LONGEST_S = 0.5, 10.0

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._wait_s = 0.0
        self._since = 0.0
        self._turn = Lock()

    def wait(self, error: BaseException) -> float:
        """Note that the database is away; returns the seconds to wait before the next try."""
        with self._turn:
            if not self._wait_s:
                self._since = monotonic()
                self._log(f"The database is away, waiting for it: {first_line(error)}")
            self._wait_s = min(max(2 * self._wait_s, self.FIRST_S), self.LONGEST_S)
            return self._wait_s

    @property
    def lasts_s(self) -> float:
        """Seconds since the database went away."""
        return monotonic() - self._since

    def over(self) -> None:
        """Note that the database answers."""
        with self._turn:
            if self._wait_s:
                self._log("The database is back")
                self._wait_s = 0.0


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
