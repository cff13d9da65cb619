"""Writes that wait for a database that is away."""

import logging
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

import psycopg

from reconciler.contract.outage import Outage

T = TypeVar("T")
log = logging.getLogger("tracer.worker")
OUTAGE = Outage(log.warning)

RETRY_S = 5.0  # at most, between tries while the database is away
BEGIN_PATIENCE_S = 30.0
# Results may be paid for, and nobody takes the rows while the database is away: so for longer than
# a lease, and than the restart of a large server takes.
RESULTS_PATIENCE_S = 600.0
# An OperationalError to psycopg, and no outage: the same value is refused again.
TOO_LARGE = (
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns,
    psycopg.errors.TooManyArguments,
)


def patiently(write: Callable[[], T], patience_s: float) -> T:
    """Try a write until the database answers or `patience_s` have passed.

    Repeating is safe: a write that had landed unseen finds its attempt gone, or nothing to begin.
    """
    deadline = monotonic() + patience_s
    while True:
        began = monotonic()
        try:
            written = write()
        except TOO_LARGE:
            raise
        except psycopg.OperationalError as error:
            wait_s = min(OUTAGE.wait(error), RETRY_S)
            if monotonic() >= deadline:
                raise
            Event().wait(wait_s)
        else:
            OUTAGE.over(began)
            return written
