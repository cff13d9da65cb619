"""The operator's verbs on a batch. Each holds from the next tick, and is noted in the history."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from shlex import quote

import psycopg

from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput
from reconciler.contract.sql.claim import CLAIM_TURN
from reconciler.contract.states import BatchStatus, Status
from reconciler.operator.batch import BatchView
from reconciler.operator.history import Line
from reconciler.operator.sql import rerun as rerunning
from reconciler.operator.sql import steering as queries
from reconciler.operator.store import OperatorStore

DEADLOCKS = 5  # a verb is tried again after this many deadlocks
CHUNK = 20_000  # rows of a transaction
START = {"after_step": "", "after_moment": "-infinity", "after_company": -1}

OnMoved = Callable[[int], None]  # gets the number of rows moved so far


@dataclass(frozen=True)
class Selection:
    """Selects rows: by step, by a text in their error, by their company's key."""

    step: str | None = None
    error: str | None = None
    company: str | None = None


ALL = Selection()
LOWEST, HIGHEST = -(2**31), 2**31 - 1  # the priorities that the column can hold


def ended(name: str, status: str) -> BadInput:
    """The error for a verb on a batch that has ended, with the command that may help."""
    says = f"Batch {name!r} has ended already. It is {status}, and "
    if status == BatchStatus.FINISHED:
        says += "no row of it waits. To give its failed rows new attempts"
        return BadInput(says, f"tracer retry {quote(name)}")
    return BadInput(f"{says}a cancelled batch cannot go on: seed the file again.")


def unfinished(store: OperatorStore, batch: BatchView) -> list[Row]:
    """The number of rows that are PENDING or in flight: `step`, `status`, `rows`."""
    return store.rows(queries.UNFINISHED, batch_id=batch.id)


def failed(store: OperatorStore, batch: BatchView, selection: Selection = ALL) -> list[Row]:
    """The number of rows that `retry` would move: `step`, `status`, `rows`."""
    return store.rows(queries.FAILED, batch_id=batch.id, **asdict(selection))


def rivals(store: OperatorStore, batch: BatchView) -> list[Row]:
    """The running batches that share a step with this one: `name`, `priority`, highest first."""
    return store.rows(queries.RIVALS, batch_id=batch.id)


def failed_unknown(store: OperatorStore, batch: BatchView, selection: Selection = ALL) -> list[Row]:
    """What `retry` would move with `unknown`; how many of these calls are `lost`, so that they may
    be paid twice; and how many `calls` it makes, at most, at `price` each.
    """
    return store.rows(queries.FAILED_UNKNOWN, batch_id=batch.id, **asdict(selection))


def retry(
    store: OperatorStore,
    batch: BatchView,
    selection: Selection = ALL,
    on_moved: OnMoved = lambda _: None,
    *,
    unknown: bool = False,
) -> int:
    """Give FAILED rows all their attempts again; returns their number.

    With `unknown`, only those whose call may have been charged: they are bought again.

    Each chunk of rows is a transaction, and `on_moved` is called after each. If this is
    interrupted, some rows are retried and the others stay FAILED: run it again.

    Raises:
        BadInput: the batch was cancelled.
    """
    given = asdict(selection)
    about = {name: value for name, value in given.items() if value is not None}
    line = Line(batch.id, store.who, "retry", about | ({"unknown": True} if unknown else {}))

    def reopen(connection: Connection, held: Row) -> None:
        if held["status"] == BatchStatus.CANCELLED:
            raise ended(batch.name, held["status"])
        connection.execute(queries.REOPEN_BATCH, {"batch_id": batch.id})
        if unknown:
            connection.execute(CLAIM_TURN)  # no claim looks at their orders meanwhile

    statement = queries.RETRY_UNKNOWN if unknown else queries.RETRY
    return _in_chunks(store, batch, statement, given, line, reopen, on_moved)


@dataclass(frozen=True)
class Rerun:
    """Which ended rows of a step are worked again: see `ENDED_ROWS`.

    `kept`: from their kept answers alone, without a call. `buy`: their answers are bought again.
    """

    step: str
    where: str = "all"
    kept: bool = False
    buy: bool = False


def to_rerun(store: OperatorStore, batch: BatchView, again: Rerun) -> list[Row]:
    """The number of ended rows: `step`, `status`, `rows`; how many of them have a `kept` answer
    that can be read again; and for how many a rerun makes `calls`, at most, at `price` each.
    """
    query = rerunning.TO_RERUN.format(those=rerunning.ENDED_ROWS[again.where])
    return store.rows(query, batch_id=batch.id, step=again.step, buy=again.buy)


def rerun(
    store: OperatorStore, batch: BatchView, again: Rerun, on_moved: OnMoved = lambda _: None
) -> int:
    """Have ended rows of a step worked again; returns their number. See `retry`.

    Raises:
        BadInput: the batch was cancelled.
    """
    verb = "reparse" if again.kept else "rerun"
    about = {"step": again.step, "where": again.where} | ({"buy": True} if again.buy else {})
    line = Line(batch.id, store.who, verb, about)

    def reopen(connection: Connection, held: Row) -> None:
        if held["status"] == BatchStatus.CANCELLED:
            raise ended(batch.name, held["status"])
        connection.execute(queries.REOPEN_BATCH, {"batch_id": batch.id})

    query = rerunning.RERUN.format(those=rerunning.ENDED_ROWS[again.where])
    given = {"step": again.step, "kept": again.kept, "buy": again.buy}
    return _in_chunks(store, batch, query, given, line, reopen, on_moved)


def waiting(store: OperatorStore, batch: BatchView, selection: Selection = ALL) -> list[Row]:
    """The number of PENDING rows that wait for a later time: `step`, `status`, `rows`."""
    return store.rows(queries.WAITING, batch_id=batch.id, **asdict(selection))


def wake(
    store: OperatorStore,
    batch: BatchView,
    selection: Selection = ALL,
    on_moved: OnMoved = lambda _: None,
) -> int:
    """Let PENDING rows that wait for a later time be claimed now; returns their number.

    They keep their attempts, and an attempt that fails makes them wait again. See `retry`.
    """
    given = asdict(selection)
    about = {name: value for name, value in given.items() if value is not None}
    line = Line(batch.id, store.who, "retry", about | {"waiting": True})
    return _in_chunks(store, batch, queries.WAKE, given, line, on_moved=on_moved)


def cancel(store: OperatorStore, batch: BatchView, on_moved: OnMoved = lambda _: None) -> int:
    """Cancel the batch and all its rows that have not ended; returns the number of these rows.

    The first transaction cancels the batch and its rows in flight: nothing of it is claimed any
    more. The PENDING rows follow in chunks. If this is interrupted, the rest stays PENDING and
    unclaimed: the same command finishes it.

    Raises:
        BadInput: the batch has finished.
    """
    line = Line(batch.id, store.who, "cancel")
    moved = _despite_deadlocks(lambda: _cancel(store, batch, line))
    on_moved(moved)
    return _in_chunks(
        store, batch, queries.CANCEL_PENDING, {}, line, on_moved=on_moved, moved=moved, again=True
    )


def _cancel(store: OperatorStore, batch: BatchView, line: Line) -> int:
    values = {"batch_id": batch.id}
    with store.transaction() as connection:
        held = _hold(connection, batch)
        if held["status"] == BatchStatus.FINISHED:
            raise ended(batch.name, held["status"])
        connection.execute(queries.CANCEL_BATCH, values)
        # Wait for a claim that is under way: it does not see the cancel yet. Otherwise it could
        # make a PENDING row QUEUED after this statement has looked for rows in flight.
        connection.execute(CLAIM_TURN)
        moved = connection.execute(queries.CANCEL, values).rowcount
        connection.execute(queries.CANCEL_ADVANCE, values)
        if moved or held["status"] == BatchStatus.RUNNING:
            line.add(connection, moved)
        return moved


def pause(store: OperatorStore, batch: BatchView, paused: bool = True) -> bool:
    """Stop claiming rows of the batch, or start again; rows in flight finish in any case.

    Returns False if nothing had to change.

    Raises:
        BadInput: the batch has ended.
    """
    verb = "pause" if paused else "resume"
    return _set(store, batch, verb, queries.PAUSE, "paused", paused)


def set_priority(store: OperatorStore, batch: BatchView, priority: int) -> bool:
    """Set the priority: rows of a batch with a higher priority are claimed first.

    Returns False if nothing had to change.

    Raises:
        BadInput: the batch has ended.
    """
    return _set(store, batch, "priority", queries.PRIORITY, "priority", priority)


def _set(
    store: OperatorStore, batch: BatchView, verb: str, statement: str, column: str, value: int
) -> bool:
    """Change a column of a running batch; its line in the history counts the PENDING rows."""
    with store.transaction() as connection:
        held = _hold(connection, batch)
        if held["status"] != BatchStatus.RUNNING:
            raise ended(batch.name, held["status"])
        if held[column] == value:
            return False
        connection.execute(statement.encode(), {"batch_id": batch.id, column: value})
        counts = connection.execute(queries.UNFINISHED, {"batch_id": batch.id}).fetchall()
        pending = sum(row["rows"] for row in counts if row["status"] == Status.PENDING)
        detail = {"from": held[column], "to": value} if verb == "priority" else {}
        Line(batch.id, store.who, verb, detail).add(connection, pending)
    return True


def _in_chunks(
    store: OperatorStore,
    batch: BatchView,
    statement: str,
    values: Row,
    line: Line,
    begin: Callable[[Connection, Row], None] = lambda *_: None,
    on_moved: OnMoved = lambda _: None,
    moved: int = 0,
    again: bool = False,
) -> int:
    """Move rows by `statement`, one transaction per chunk; returns their number plus `moved`.

    `begin` runs first in each transaction. A chunk may miss a row that a dispatch writes at the
    same time; `again` repeats the pass from the start until one finds no row.
    """
    place = START
    while True:
        with store.transaction() as connection:
            begin(connection, _hold(connection, batch))
            chunk = {**values, **place, "batch_id": batch.id, "limit": CHUNK}
            found = connection.execute(statement.encode(), chunk).fetchone()
            if not found:
                raise psycopg.Rollback  # undo `begin`: a finished batch must stay finished
            if found["rows"]:
                line.add(connection, found["rows"])
        if found:
            moved, place = moved + found.pop("rows"), place | found
            on_moved(moved)
        elif again and place is not START:
            place = START
        else:
            return moved


def _hold(connection: Connection, batch: BatchView) -> Row:
    """Lock the batch's row until the end of the transaction, and return it.

    Raises:
        BadInput: the batch was deleted.
    """
    held = connection.execute(queries.HOLD, {"batch_id": batch.id}).fetchone()
    if not held:
        raise BadInput(f"There is no batch {batch.name!r} any more.")
    return held


def _despite_deadlocks(verb: Callable[[], int]) -> int:
    """Run the verb, and again after a deadlock: workers lock the rows in another order."""
    for _ in range(DEADLOCKS):
        with suppress(psycopg.errors.DeadlockDetected):
            return verb()
    return verb()
