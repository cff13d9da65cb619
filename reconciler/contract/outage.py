"""A database that is away: when to try again, and a log line when it goes and when it returns."""

import logging
from collections.abc import Callable
from math import inf
from threading import Lock
from time import monotonic

# psycopg's pool logs every failed try of every connection; `Outage` logs once instead.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class Outage:
    """Logs once when the database goes away and once when it is back, for all threads of a program.

    The waits between tries double, from `FIRST_S` to `LONGEST_S` seconds.
    """

    FIRST_S, LONGEST_S = 0.5, 10.0

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._wait_s = 0.0
        self._began = 0.0
        self._turn = Lock()

    def wait(self, error: BaseException) -> float:
        """Note that the database is away; returns the seconds to wait before the next try."""
        with self._turn:
            if not self._wait_s:
                self._began = monotonic()
                self._log(f"The database is away, waiting for it: {first_line(error)}")
            self._wait_s = min(max(2 * self._wait_s, self.FIRST_S), self.LONGEST_S)
            return self._wait_s

    @property
    def duration_s(self) -> float:
        """Seconds since the database went away."""
        return monotonic() - self._began

    def over(self, began: float = inf) -> None:
        """Note that the database answers again: what it has answered was asked at `began`.

        An answer to what was asked before the database went away says nothing of now.
        """
        with self._turn:
            if self._wait_s and began > self._began:
                self._log("The database is back")
                self._wait_s = 0.0


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's class if the text is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
