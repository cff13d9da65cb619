"""Reads the facts about a company's row in a batch, and names the one reason that holds it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from reconciler.contract.caps import Purchase
from reconciler.contract.database import Connection, Database
from reconciler.contract.settings import Settings
from reconciler.contract.states import IN_FLIGHT, BatchStatus, Status
from reconciler.contract.store import claim_values
from reconciler.operator.batch import BatchView, known_key, no_company
from reconciler.operator.diagnosis.observers import observe
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.row_facts import COUNTED, NextClaim, RowFacts
from reconciler.operator.diagnosis.rules import ended, in_flight, pending
from reconciler.operator.money.full import full_caps, names_of, read_all_waiting, short_caps
from reconciler.operator.sql.diagnosis import EXPLAIN, NEXT_CLAIM, SNAPSHOT
from reconciler.operator.sql.money import CAPS_OF, WORKED
from reconciler.provider_state import read_state

RULES: dict[Status, Callable[[RowFacts], Iterator[Reason]]] = {
    Status.PENDING: pending.reasons,
    Status.QUEUED: in_flight.queued,
    Status.IN_PROGRESS: in_flight.running,
    Status.COMPLETED: ended.completed,
    Status.NOT_FOUND: ended.not_found,
    Status.SKIPPED: ended.skipped,
    Status.FAILED: ended.failed,
    Status.CANCELLED: ended.cancelled,
}


def explain(row: RowFacts) -> Reason:
    """The one reason that holds the row: the first that applies."""
    return next(chain(pending.cancel_unfinished(row), RULES[Status(row.status)](row)))


def moves_by_itself(row: RowFacts) -> bool:
    """Whether the row goes on by itself, if `explain` names no command."""
    if row.finished_at is None:
        return True
    return row.goes_on and row.batch_status != BatchStatus.CANCELLED


def read_and_observe(store: Database, settings: Settings, batch: BatchView, key: str) -> RowFacts:
    """The company's newest row in the batch, with all facts from the database, Prefect and workers.

    Raises:
        BadInput: the batch has no such company.
    """
    row = read_row(store, batch, key)
    return replace(row, observed=observe(settings, row))


def read_row(store: Database, batch: BatchView, key: str) -> RowFacts:
    """The company's newest row in the batch, with the facts that the database has.

    `key` may be another spelling of the company's key.

    Raises:
        BadInput: the batch has no such company.
    """
    with store.transaction() as connection:
        connection.execute(SNAPSHOT)
        found = connection.execute(EXPLAIN, {"batch_id": batch.id, "key": key}).fetchone()
        row = with_limits(connection, RowFacts(**found)) if found else None
        if row and pending.only_the_claim_decides(row):
            row = replace(row, next_claim=_next_claim(connection, row))
    if row:
        return with_full_caps(store, row)
    if (meant := known_key(store, key)) != key:
        return read_row(store, batch, meant)
    raise no_company(store, batch, key)


def with_full_caps(store: Database, row: RowFacts) -> RowFacts:
    """The row with the caps that keep it from buying, if one is full; see `RowFacts.full_caps`."""
    if row.status != Status.PENDING or not row.price:
        return row
    wanted = Purchase(row.step, row.batch_id, row.client, row.provider, row.price, 1)
    caps = store.rows(CAPS_OF, scopes=names_of([wanted], row.now))
    if not full_caps(caps, [wanted], row.now):
        return row
    return replace(row, full_caps=tuple(short_caps(caps, wanted, _before(store, row), row.now)))


def _before(store: Database, row: RowFacts) -> list[Purchase]:
    """What may buy before the row does: all that waits, but for rows of its step that come later.

    Priorities hold within a step. Of another step, any row may come first.
    """
    worked = store.rows(WORKED)
    lower = {batch["id"] for batch in worked if batch["priority"] < row.priority}
    before = []
    for other in read_all_waiting(store, worked):
        of_step = other.step_name == row.step
        if of_step and other.batch_id == row.batch_id:
            before.append(replace(other, orders=_ahead(row, other.orders - 1)))
        elif not (of_step and other.batch_id in lower):
            before.append(other)
    return before


def _ahead(row: RowFacts, most: int) -> int:
    """How many rows of the batch come before the row; `most` where that was not counted."""
    ahead = row.next_claim.ahead if row.next_claim else COUNTED
    return ahead if ahead < COUNTED else most


def with_limits(connection: Connection, row: RowFacts) -> RowFacts:
    """The row with the state of its provider, if it waits for it or is to be called."""
    if row.provider is None or row.status not in (Status.PENDING, *IN_FLIGHT):
        return row
    return replace(row, limits=read_state(connection, row.provider))


def _next_claim(connection: Connection, row: RowFacts) -> NextClaim:
    names = ("batch_id", "step", "company_id", "available_at", "priority", "now")
    values = {name: getattr(row, name) for name in names}
    values |= claim_values(row.now) | {"counted": COUNTED}
    found = connection.execute(NEXT_CLAIM, values).fetchone()
    assert found is not None  # the query always returns one row
    return NextClaim(**found)
