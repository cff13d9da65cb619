"""What the running system shows about its pick-ups and its ticks, read without a scan."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from reconciler.contract.database import Database, Row
from reconciler.contract.sql.tick import DUE
from reconciler.operator.sql import tuning

WINDOW = timedelta(hours=1)  # what counts as lately
PAGES = 300  # of about 65 rows each: 20,000 are looked at
ENOUGH = 200  # rows; of fewer, the newest batches are read
BATCHES, COMPANIES = 20, 100  # of those, and in each
PICKUPS = 1000  # each is one more look-up by key
SHARES = [(i + 0.5) / 200 for i in range(200)]
TIMES = 20  # that a statement is timed
IDLE_STATEMENTS = 2  # of an idle tick: the beat, which costs about as much, and the look


@dataclass(frozen=True)
class Pickups:
    """How rows were picked up within `WINDOW`; all times are in seconds.

    `overheads` are quantiles, at `SHARES`, of the time from a tick's clock to the begin of what it
    claimed, in `rows` rows. `pickup_p50_s` and `pickup_p95_s` are of the time from the end of a
    company's step to the begin of its next one in `pickups` cases, and `pickup_overheads` are the
    overheads in these alone; `mixed` says that some are from before the intervals were last
    changed. `tick_p95_s` is how long a tick that claims takes. Without rows, times are None and
    quantiles are an empty list.
    """

    rows: int
    overheads: list[float]
    pickups: int
    pickup_p50_s: float | None
    pickup_p95_s: float | None
    pickup_overheads: list[float]
    mixed: bool
    tick_p95_s: float | None


def read_pickups(database: Database) -> Pickups:
    """Read a sample of the rows that were begun within `WINDOW`; its cost has an upper bound."""
    found = _read(database, tuning.SAMPLED)
    if found["rows"] < ENOUGH:
        found = max(found, _read(database, tuning.RECENT), key=lambda row: int(row["rows"]))
    ticks = database.rows(tuning.TICKS, window=WINDOW)[0]
    quantiles = {name: found[name] or [] for name in ("overheads", "pickup_overheads")}
    return Pickups(**found | ticks | quantiles)


def _read(database: Database, source: str) -> Row:
    return database.rows(
        tuning.PICKUPS.format(source=source),
        window=WINDOW,
        pages=PAGES,
        batches=BATCHES,
        companies=COMPANIES,
        pickups=PICKUPS,
        shares=SHARES,
    )[0]


def idle_tick_s(database: Database) -> float:
    """CPU seconds of a tick that finds nothing to do, this process and Postgres together.

    A statement counts with what it takes longer than an empty one, so that the way to a distant
    database does not count, and with this process's CPU for an empty one. Medians of `TIMES`.
    """
    now = database.rows(tuning.NOTHING)[0]["now"]
    looks, nothings, own = [], [], []
    for _ in range(TIMES):
        looks.append(_timed(lambda: database.rows(DUE, now=now), time.perf_counter))
        nothings.append(_timed(lambda: database.rows(tuning.NOTHING), time.perf_counter))
        own.append(_timed(lambda: database.rows(tuning.NOTHING), time.process_time))
    statement_s = max(0.0, median(looks) - median(nothings)) + median(own)
    return IDLE_STATEMENTS * statement_s


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started
