"""The operator's reads of batches and companies. Each takes a few statements, all by an index."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from math import inf

from psycopg import sql
from sqlalchemy import Table

from reconciler.contract.database import Row
from reconciler.contract.error_kinds import NOT_SPAWNED
from reconciler.contract.progress import by_batch, by_status, totals
from reconciler.contract.results import RESULTS_SCHEMA
from reconciler.contract.sql.progress import ACTIVE, COUNTS, RECENT, RETRIES
from reconciler.contract.states import BatchStatus, Status
from reconciler.contract.store import BY_THE_SECOND
from reconciler.operator import failures as messages
from reconciler.operator.batch import BatchView, known_key, no_company
from reconciler.operator.diagnosis.row_facts import LoopFacts
from reconciler.operator.diagnosis.rules.loop import halted
from reconciler.operator.diagnosis.rules.money import rows_wait
from reconciler.operator.diagnosis.rules.provider import rows_wait as rows_wait_for
from reconciler.operator.diagnosis.rules.step import held
from reconciler.operator.eta import PAUSE_S, Entry, eta, read_pace, step_now
from reconciler.operator.money.full import read_full_caps, read_waiting
from reconciler.operator.money.spend import By, read_spent
from reconciler.operator.sql import views
from reconciler.operator.store import OperatorStore
from reconciler.provider_state import read_held_back

MOST_ENTRIES = 600  # log entries per step that are read for the pace
MOST_TEXTS = 2000  # different error texts that are read; all rows are counted
NOT_SPAWNED_SHOWN, SLOW_SHOWN, TICKS_SHOWN = 5, 5, 3
FOLDED_S = 60.0  # the older log has one entry per step and minute
DETAILS = ("failures", "failures_left_out", "waiting", "slowest", "ticks")
STATEMENTS = 12  # statements of `progress` without details, at most


def batches(store: OperatorStore, most: int | None = None) -> tuple[list[Row], int]:
    """The newest `most` batches, the newest last, with their counts of companies and rows.

    Also how many batches there are. Without `most`, all are read.
    """
    found = store.rows(views.BATCHES, most=most)[::-1]
    of_all = found[0]["of_all"] if found else 0
    ids = [row["id"] for row in found]
    counted = by_batch(store.rows(COUNTS, batch_ids=None if len(ids) == of_all else ids))
    for row in found:
        del row["of_all"]
        row |= totals(counted[row.pop("id")])
        row["companies"] += row["unapproved"]
    return found, of_all


def progress(
    store: OperatorStore, batch: BatchView, failures: int = 20, before: Row | None = None
) -> Row:
    """The document of `inspect --json`: counts per step, failures by kind of message, rate and ETA.

    - `steps`: see `places`.
    - `rate_per_s`: the recent rate; of a batch that has ended, the rate over its working time.
    - `rate_over_s`: the seconds over which that rate was measured, without pauses.
    - `eta_s`: None if unknown, or while the batch or all polling is paused.
    - `failures`: at most as many kinds as the argument; `failures_left_out` has the sums of the
      others: `kinds`, `count`, `failed`.
    - `spent`, `reserved`, `cap`: what the batch costs; None where nothing of it has a price.
    - `loop`: why no tick comes, or None. `held`: the steps that are held, and why.
    - `caps`: the caps that are full and that rows of the batch wait for.
    - `providers`: those that are paused, full or at their limit, and that rows of it wait for.

    With `before`, an earlier answer, its `DETAILS` are used again and not read.
    """
    counted = store.rows(COUNTS, batch_ids=[batch.id])
    polling = store.polling()
    loop = LoopFacts.of(polling)
    reason = next(halted(loop), None)
    found = {
        "batch": batch.name,
        "name": batch.name,
        "status": batch.status,
        "paused": batch.paused,
        "client": batch.client,
        "companies": batch.companies,
        "unapproved": batch.unapproved,
        "created_at": batch.created_at,
        "finished_at": batch.finished_at,
        "now": batch.now,
        "steps": places(store, batch, counted),
        "ticked_at": polling["ticked_at"],
        "silent": loop.silent,
        "polling_paused": polling["paused"],
        "loop": asdict(reason) if reason else None,
        "held": _held(store, batch),
        "caps": _full_caps(store, batch, counted),
        "providers": _providers(store, batch, counted),
        **store.rows(views.MONEY, batch_id=batch.id)[0],
        **_pace(store, batch, counted, polling),
    }
    return found | (
        {name: before[name] for name in DETAILS} if before else _details(store, batch, failures)
    )


def places(
    store: OperatorStore, batch: BatchView, counted: Sequence[Row] | None = None
) -> list[Row]:
    """What came of each place of the blueprint: `step`, its rows by status, and more.

    - `not_asked`: companies that an earlier member of the waterfall has found.
    - `tried`: companies for which the step was called, to the end.
    - `hit_rate`: the share of found among found and not found, None without either.
    - `per_hit`: what a hit has cost, None without one.
    - `past`: of a waterfall's member, the place at which a company goes on that it has found.

    `counted` are the batch's rows of `COUNTS`, if they are read already.
    """
    if counted is None:
        counted = store.rows(COUNTS, batch_ids=[batch.id])
    prices = {row["step"]: row["per_hit"] for row in read_spent(store, By.STEP, batch.name)}
    return [_place(by_status(row), row["past"], prices.get(row["step"])) for row in counted]


def _place(step: Row, past: int | None, per_hit: Decimal | None) -> Row:
    found, answered = step[Status.COMPLETED], step[Status.COMPLETED] + step[Status.NOT_FOUND]
    rate = round(found / answered, 4) if answered else None
    tried = answered + step[Status.FAILED]
    return step | {"tried": tried, "hit_rate": rate, "per_hit": per_hit, "past": past}


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


def with_history(store: OperatorStore, company_id: int, found: list[Row]) -> list[Row]:
    """`results` with the `batch` that each was written for, what was `bought` for it, and its
    `history`, newest first.

    `bought` has `order`, `provider`, `price`, `charged`, `answered_at`; None if nothing was. The
    history has the results that another has taken the place of, and those that came later and
    found nothing: `batch`, `version`, `written_at`, `superseded_at`, `result` of each. A batch is
    None if it is deleted, or not known, as in rows that are older than the column.
    """
    ids = [row["row"].get("written_for") for row in found]
    names = batch_names(store, [i for i in ids if i is not None])
    kept: dict[str, list[Row]] = {}
    for line in store.rows(views.HISTORY, company_id=company_id) if found else ():
        kept.setdefault(f"{RESULTS_SCHEMA}.{line.pop('table_name')}", []).append(line)
    bought = {
        (line.pop("step_name"), line.pop("batch_id")): line
        for line in (store.rows(views.BOUGHT, company_id=company_id) if found else ())
    }
    return [
        row
        | {
            "batch": names.get(batch_id),
            "bought": bought.get((row["step"], batch_id)),
            "history": kept.get(row["table"], []),
        }
        for row, batch_id in zip(found, ids, strict=True)
    ]


def batch_names(store: OperatorStore, ids: Sequence[int] | None = None) -> dict[int, str]:
    """The names of these batches by id; of all batches by default."""
    found = store.rows(views.NAMES, ids=ids if ids is None else list(ids))
    return {row["id"]: row["name"] for row in found}


def _held(store: OperatorStore, batch: BatchView) -> list[Row]:
    found = store.rows(views.HELD, steps=batch.steps)
    return [{"step": row["step"]} | asdict(held(**row)) for row in found]


def _full_caps(store: OperatorStore, batch: BatchView, counted: list[Row]) -> list[Row]:
    if batch.paused or batch.status != BatchStatus.RUNNING:
        return []
    waiting = read_waiting(store, counted, {batch.id: batch.client})
    return [asdict(rows_wait(cap)) for cap in read_full_caps(store, waiting, batch.now)]


def _providers(store: OperatorStore, batch: BatchView, counted: list[Row]) -> list[Row]:
    if batch.paused or batch.status != BatchStatus.RUNNING:
        return []
    pending = [(row["step"], by_status(row)[Status.PENDING]) for row in counted]
    return [asdict(rows_wait_for(waiting)) for waiting in read_held_back(store, pending)]


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
