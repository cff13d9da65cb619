"""What an operator does to a batch; each verb holds from the next tick, and leaves a line."""

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
from reconciler.operator.sql import steering as queries
from reconciler.operator.store import OperatorStore

DEADLOCKS = 5  # that an operator's verb gets over
CHUNK = 20_000  # rows of a transaction
FIRST = {"after_step": "", "after_moment": "-infinity", "after_company": -1}

Told = Callable[[int], None]  # how many rows were moved so far


@dataclass(frozen=True)
class Wanted:
    """Which FAILED rows: of one step, with this text in their error, of the company of this key."""

    step: str | None = None
    error: str | None = None
    company: str | None = None


ALL = Wanted()
LOWEST, HIGHEST = -(2**31), 2**31 - 1  # priorities that the column takes


def ended(name: str, status: str) -> BadInput:
    """What is wrong where a verb is for a batch that runs, and what there is to do."""
    says = f"Batch {name!r} has ended already. It is {status}, and "
    if status == BatchStatus.FINISHED:
        says += "nothing of it waits. To take up what failed, if anything did"
        return BadInput(says, f"tracer retry {quote(name)}")
    return BadInput(f"{says}there is no way back: seed it again.")


def living(store: OperatorStore, batch: BatchView) -> list[Row]:
    """How many rows wait and are in flight: `step`, `status`, `rows`."""
    return store.rows(queries.LIVING, batch_id=batch.id)


def failed(store: OperatorStore, batch: BatchView, wanted: Wanted = ALL) -> list[Row]:
    """How many rows `retry` would move: `step`, `status`, `rows`."""
    return store.rows(queries.FAILED, batch_id=batch.id, **asdict(wanted))


def rivals(store: OperatorStore, batch: BatchView) -> list[Row]:
    """The running batches with a step in common: `name`, `priority`, the highest first."""
    return store.rows(queries.RIVALS, batch_id=batch.id)


def retry(
    store: OperatorStore, batch: BatchView, wanted: Wanted = ALL, told: Told = lambda _: None
) -> int:
    """Give FAILED rows all their attempts again.

    `told` hears how many they are so far, after each chunk. What ends this between two leaves
    some retried and the others FAILED.

    Raises:
        BadInput: the batch was cancelled.
    """
    given = asdict(wanted)
    about = {name: value for name, value in given.items() if value is not None}
    line = Line(batch.id, store.who, "retry", about)

    def reopen(connection: Connection, held: Row) -> None:
        if held["status"] == BatchStatus.CANCELLED:
            raise ended(batch.name, held["status"])
        connection.execute(queries.REOPEN_BATCH, {"batch_id": batch.id})

    return _in_chunks(store, batch, queries.RETRY, given, line, reopen, told)


def cancel(store: OperatorStore, batch: BatchView, told: Told = lambda _: None) -> int:
    """End the batch and every row of it that has not ended; returns how many those were.

    The batch goes first, with what is in flight, and nothing of it is claimed from then on;
    what waits follows in chunks. What ends this in between leaves rows PENDING that nothing
    moves, until it is done again.

    Raises:
        BadInput: the batch has finished.
    """
    line = Line(batch.id, store.who, "cancel")
    moved = _in_turn(lambda: _cancel(store, batch, line))
    told(moved)
    return _in_chunks(
        store, batch, queries.CANCEL_WAITING, {}, line, told=told, moved=moved, again=True
    )


def _cancel(store: OperatorStore, batch: BatchView, line: Line) -> int:
    values = {"batch_id": batch.id}
    with store.transaction() as connection:
        held = _hold(connection, batch)
        if held["status"] == BatchStatus.FINISHED:
            raise ended(batch.name, held["status"])
        connection.execute(queries.CANCEL_BATCH, values)
        # A claim that is under way does not know of it: it goes first, and no row goes from
        # PENDING to QUEUED behind what looks for both, one after the other.
        connection.execute(CLAIM_TURN)
        moved = connection.execute(queries.CANCEL, values).rowcount
        connection.execute(queries.CANCEL_ADVANCE, values)
        if moved or held["status"] == BatchStatus.RUNNING:
            line.add(connection, moved)
        return moved


def pause(store: OperatorStore, batch: BatchView, paused: bool = True) -> bool:
    """Claim no more of the batch, or do so again; what is in flight goes on.

    Returns False where that was so already.

    Raises:
        BadInput: the batch has ended.
    """
    verb = "pause" if paused else "resume"
    return _set(store, batch, verb, queries.PAUSE, "paused", paused)


def set_priority(store: OperatorStore, batch: BatchView, priority: int) -> bool:
    """Claim the batch before those of a lower priority, and after those of a higher one.

    Returns False where that was so already.

    Raises:
        BadInput: the batch has ended.
    """
    return _set(store, batch, "priority", queries.PRIORITY, "priority", priority)


def _set(
    store: OperatorStore, batch: BatchView, verb: str, statement: str, column: str, value: int
) -> bool:
    """Change a column of a batch that runs; the rows of its line are those that wait."""
    with store.transaction() as connection:
        held = _hold(connection, batch)
        if held["status"] != BatchStatus.RUNNING:
            raise ended(batch.name, held["status"])
        if held[column] == value:
            return False
        connection.execute(statement.encode(), {"batch_id": batch.id, column: value})
        living = connection.execute(queries.LIVING, {"batch_id": batch.id}).fetchall()
        waiting = sum(row["rows"] for row in living if row["status"] == Status.PENDING)
        detail = {"from": held[column], "to": value} if verb == "priority" else {}
        Line(batch.id, store.who, verb, detail).add(connection, waiting)
    return True


def _in_chunks(
    store: OperatorStore,
    batch: BatchView,
    statement: str,
    values: Row,
    line: Line,
    begin: Callable[[Connection, Row], None] = lambda *_: None,
    told: Told = lambda _: None,
    moved: int = 0,
    again: bool = False,
) -> int:
    """Move rows by `statement`, a transaction for each chunk; returns how many, with those that
    were `moved` before.

    A chunk leaves out a row on which a dispatch writes its call meanwhile; `again` goes on
    from the start until there is none.
    """
    place = FIRST
    while True:
        with store.transaction() as connection:
            begin(connection, _hold(connection, batch))
            chunk = {**values, **place, "batch_id": batch.id, "limit": CHUNK}
            found = connection.execute(statement.encode(), chunk).fetchone()
            if not found:
                raise psycopg.Rollback  # a batch that has finished stays so
            if found["rows"]:
                line.add(connection, found["rows"])
        if found:
            moved, place = moved + found.pop("rows"), place | found
            told(moved)
        elif again and place is not FIRST:
            place = FIRST
        else:
            return moved


def _hold(connection: Connection, batch: BatchView) -> Row:
    """The batch as it is, held to the end of the transaction.

    Raises:
        BadInput: somebody has deleted it.
    """
    held = connection.execute(queries.HOLD, {"batch_id": batch.id}).fetchone()
    if not held:
        raise BadInput(f"There is no batch {batch.name!r} any more.")
    return held


def _in_turn(verb: Callable[[], int]) -> int:
    """Do it, again where workers took the rows in another order and Postgres ended this one."""
    for _ in range(DEADLOCKS):
        with suppress(psycopg.errors.DeadlockDetected):
            return verb()
    return verb()
