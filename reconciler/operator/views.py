"""The operator's reads of batches and companies. Each takes a few statements, all by an index."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from math import inf

from psycopg import sql
from sqlalchemy import Table

from reconciler.contract.database import Row
from reconciler.contract.error_kinds import NOT_SPAWNED
from reconciler.contract.progress import by_batch, by_status, totals
from reconciler.contract.sql.progress import ACTIVE, COUNTS, RECENT, RETRIES
from reconciler.contract.store import BY_THE_SECOND
from reconciler.operator import failures as messages
from reconciler.operator.batch import BatchView, known_key, no_company
from reconciler.operator.diagnosis.row_facts import LoopFacts
from reconciler.operator.diagnosis.rules.loop import halted
from reconciler.operator.diagnosis.rules.step import held
from reconciler.operator.eta import PAUSE_S, Entry, eta, read_pace, step_now
from reconciler.operator.sql import views
from reconciler.operator.store import OperatorStore

MOST_ENTRIES = 600  # log entries per step that are read for the pace
MOST_TEXTS = 2000  # different error texts that are read; all rows are counted
NOT_SPAWNED_SHOWN, SLOW_SHOWN, TICKS_SHOWN = 5, 5, 3
FOLDED_S = 60.0  # the older log has one entry per step and minute
DETAILS = ("failures", "failures_left_out", "waiting", "slowest", "ticks")
STATEMENTS = 6  # statements of `progress` without details


def batches(store: OperatorStore) -> list[Row]:
    """Every batch with its counts of companies and rows."""
    counted = by_batch(store.rows(COUNTS, batch_id=None))
    found = {row.pop("id"): row for row in store.rows(views.BATCHES, batch_ids=list(counted))}
    return [row | totals(counted[batch_id]) for batch_id, row in found.items()]


def progress(
    store: OperatorStore, batch: BatchView, failures: int = 20, before: Row | None = None
) -> Row:
    """The document of `inspect --json`: counts per step, failures by kind of message, rate and ETA.

    - `rate_per_s`: the recent rate; of a batch that has ended, the rate over its working time.
    - `rate_over_s`: the seconds over which that rate was measured, without pauses.
    - `eta_s`: None if unknown, or while the batch or all polling is paused.
    - `failures`: at most as many kinds as the argument; `failures_left_out` has the sums of the
      others: `kinds`, `count`, `failed`.
    - `loop`: why no tick comes, or None. `held`: the steps that are held, and why.

    With `before`, an earlier answer, its `DETAILS` are used again and not read.
    """
    counted = store.rows(COUNTS, batch_id=batch.id)
    polling = store.polling()
    loop = LoopFacts.of(polling)
    reason = next(halted(loop), None)
    found = {
        "batch": batch.name,
        "name": batch.name,
        "status": batch.status,
        "paused": batch.paused,
        "companies": batch.companies,
        "created_at": batch.created_at,
        "finished_at": batch.finished_at,
        "now": batch.now,
        "steps": [by_status(step) for step in counted],
        "ticked_at": polling["ticked_at"],
        "silent": loop.silent,
        "polling_paused": polling["paused"],
        "loop": asdict(reason) if reason else None,
        "held": _held(store, batch),
        **_pace(store, batch, counted, polling),
    }
    return found | (
        {name: before[name] for name in DETAILS} if before else _details(store, batch, failures)
    )


def timeline(store: OperatorStore, batch: BatchView | None, key: str) -> tuple[Row, list[Row]]:
    """A company, and its rows in the batch, or in all batches, the oldest batch first.

    Each row has its batch's name and its earlier `attempts`. `key` may be another spelling of the
    company's key.

    Raises:
        BadInput: there is no such company, or the batch does not have it.
    """
    found = store.rows(views.COMPANY, key=key) or store.rows(
        views.COMPANY, key=known_key(store, key)
    )
    if not found:
        raise no_company(store, batch, key)
    batch_id = batch.id if batch else None
    rows = store.rows(views.TIMELINE, company_id=found[0]["id"], batch_id=batch_id)
    if batch and not rows:
        raise no_company(store, batch, key)
    return found[0], rows


def results(store: OperatorStore, company_id: int, tables: Mapping[str, Table]) -> list[Row]:
    """The company's domain rows: `step`, `table` and `row` of each. `tables` are by step."""
    names = {step: f"{table.schema}.{table.name}" for step, table in tables.items()}
    quoted = {s: sql.Identifier(str(t.schema), t.name) for s, t in tables.items()}
    wanted = [name.as_string() for name in quoted.values()]
    existing = {row["name"] for row in store.rows(views.EXISTING_TABLES, names=wanted)}
    parts = [
        sql.SQL(views.RESULT).format(
            step=sql.Literal(step), name=sql.Literal(names[step]), table=name
        )
        for step, name in quoted.items()
        if name.as_string() in existing
    ]
    if not parts:
        return []
    return store.rows(sql.SQL(" UNION ALL ").join(parts), company_id=company_id)


def _held(store: OperatorStore, batch: BatchView) -> list[Row]:
    found = store.rows(views.HELD, steps=batch.blueprint)
    return [{"step": row["step"]} | asdict(held(**row)) for row in found]


def _details(store: OperatorStore, batch: BatchView, most: int) -> Row:
    errors = store.rows(
        views.ERRORS,
        batch_id=batch.id,
        not_spawned=list(NOT_SPAWNED),
        read=messages.READ,
        most=MOST_TEXTS,
    )
    kinds = messages.failures(errors)
    return {
        "failures": kinds[:most],
        "failures_left_out": messages.summed(kinds[most:]),
        "waiting": messages.not_spawned(errors, NOT_SPAWNED_SHOWN),
        "slowest": store.rows(views.SLOWEST, batch_id=batch.id, most=SLOW_SHOWN),
        "ticks": store.rows(views.TICKS, most=TICKS_SHOWN),
    }


def _pace(store: OperatorStore, batch: BatchView, counted: list[Row], polling: Row) -> Row:
    if batch.finished_at:
        over_s, done = _worked_s(store, batch), sum(step["done"] for step in counted)
        rate = done / max(over_s, 0.001)
        return {"rate_per_s": round(rate, 2), "rate_over_s": round(over_s, 1), "eta_s": 0}
    retries = {row["step"]: row["retry_s"] for row in store.rows(RETRIES, batch_id=batch.id)}
    steps = [step_now(step, retries) for step in counted]
    pace = read_pace(_log(store, batch), steps)
    paused = batch.paused or polling["paused"]
    left = None if paused else eta(pace, steps, polling["poll_s"])
    return {
        "rate_per_s": round(pace.per_s, 2),
        "rate_over_s": round(pace.over_s, 1),
        "eta_s": None if left is None else round(left),
    }


def _log(store: OperatorStore, batch: BatchView) -> list[Entry]:
    """The newest part of the log, as far back as the entries of all steps were read."""
    bounds = {"by_the_second": BY_THE_SECOND, "most": MOST_ENTRIES}
    entries = [Entry(**row) for row in store.rows(RECENT, batch_id=batch.id, **bounds)]
    read = Counter(entry.position for entry in entries)
    reach: dict[int, float] = {}
    for entry in entries:
        reach[entry.position] = max(entry.ago, reach.get(entry.position, 0.0))
    whole = min((reach[i] for i, rows in read.items() if rows == MOST_ENTRIES), default=inf)
    return [entry for entry in entries if entry.ago <= whole]


def _worked_s(store: OperatorStore, batch: BatchView) -> float:
    """The seconds in which the batch was worked, without waits and pauses."""
    found = store.rows(ACTIVE, batch_id=batch.id, pause_s=PAUSE_S + FOLDED_S)[0]
    if found["first"] is None:
        return 0.0
    before_s = (found["first"] - batch.created_at).total_seconds()
    return float(min(before_s, found["usual_s"] or before_s) + found["active_s"])
