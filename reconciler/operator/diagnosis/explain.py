"""Reads the facts about a company's row in a batch, and names the one reason that holds it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from reconciler.contract.database import Connection, Database
from reconciler.contract.settings import Settings
from reconciler.contract.states import BatchStatus, Status
from reconciler.contract.store import claim_values
from reconciler.operator.batch import BatchView, known_key, no_company
from reconciler.operator.diagnosis.observers import observe
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.row_facts import COUNTED, NextClaim, RowFacts
from reconciler.operator.diagnosis.rules import ended, in_flight, pending
from reconciler.operator.sql.diagnosis import EXPLAIN, NEXT_CLAIM, SNAPSHOT

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
    over = row.last or row.batch_status == BatchStatus.CANCELLED
    done = row.finished_at is not None and over
    return row.status not in (Status.FAILED, Status.CANCELLED) and not done


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
        if found:
            row = RowFacts(**found)
            if pending.only_the_claim_decides(row):
                return replace(row, next_claim=_next_claim(connection, row))
            return row
    if (meant := known_key(store, key)) != key:
        return read_row(store, batch, meant)
    raise no_company(store, batch, key)


def _next_claim(connection: Connection, row: RowFacts) -> NextClaim:
    names = ("batch_id", "step", "company_id", "available_at", "priority", "now")
    values = {name: getattr(row, name) for name in names}
    values |= claim_values(row.now) | {"counted": COUNTED}
    found = connection.execute(NEXT_CLAIM, values).fetchone()
    assert found is not None  # the query always returns one row
    return NextClaim(**found)
