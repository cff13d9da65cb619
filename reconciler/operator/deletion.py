"""Deletes a batch that has ended, or a company with its results. Nothing of it can be had back."""

from dataclasses import dataclass

from psycopg import sql

from reconciler.contract.caps import batch_scope
from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput
from reconciler.contract.grants import SPECIAL
from reconciler.contract.results import RESULTS_SCHEMA
from reconciler.contract.states import BatchStatus
from reconciler.operator.batch import BatchView, no_company
from reconciler.operator.history import Line
from reconciler.operator.sql import deletion as queries
from reconciler.operator.sql.steering import HOLD
from reconciler.operator.steering import OnMoved, unfinished
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import operand

CHUNK = 5_000  # companies of a transaction


@dataclass(frozen=True)
class Deleted:
    """What went with a company; `superseded` are results that others had taken the place of."""

    batches: int
    rows: int
    results: int
    superseded: int = 0


def rows_of(store: OperatorStore, batch: BatchView) -> list[Row]:
    """The number of the batch's rows: `step`, `status`, `rows`."""
    return store.rows(queries.ROWS, batch_id=batch.id)


def require_ended(store: OperatorStore, batch: BatchView) -> None:
    """Do nothing if the batch has ended.

    Raises:
        BadInput: it runs, or its cancel is not finished.
    """
    if batch.status == BatchStatus.RUNNING or unfinished(store, batch):
        raise _runs(batch.name)


def delete_batch(
    store: OperatorStore, batch: BatchView, on_deleted: OnMoved = lambda _: None
) -> int:
    """Delete the batch, its rows, its history and its cap; returns how many companies it had.

    Each chunk of companies is a transaction, and `on_deleted` is called after each. If this is
    interrupted, the same command deletes the rest. Companies and results stay.

    Raises:
        BadInput: the batch runs.
    """
    companies = 0
    while deleted := _delete_chunk(store, batch):
        companies += deleted
        on_deleted(companies)
    return companies


def _delete_chunk(store: OperatorStore, batch: BatchView) -> int:
    """Delete some companies of the batch; if it has none, the batch itself."""
    with store.transaction() as connection:
        held = connection.execute(HOLD, {"batch_id": batch.id}).fetchone()
        if held and held["status"] == BatchStatus.RUNNING:  # a retry has come in between
            raise _runs(batch.name)
        chunk = {"batch_id": batch.id, "limit": CHUNK}
        deleted = connection.execute(queries.DELETE_MEMBERS, chunk).rowcount
        if not deleted:
            connection.execute(queries.DELETE_BATCH, {"batch_id": batch.id})
            connection.execute(queries.DELETE_CAP, {"scope": batch_scope(batch.id)})
        return deleted


def batches_of(store: OperatorStore, key: str) -> list[Row]:
    """The batches that have the company: `id`, `name`, `status`, `rows`.

    Raises:
        BadInput: there is no such company, or one of its batches runs.
    """
    with store.transaction() as connection:
        return _ended_batches(connection, _hold(store, connection, key))


def delete_company(store: OperatorStore, key: str) -> Deleted:
    """Delete the company, its results with their history, its answers, and its rows in all batches.

    The batches' histories count it.

    Raises:
        BadInput: there is no such company, or one of its batches runs.
    """
    with store.transaction() as connection:
        company = {"company_id": _hold(store, connection, key)}
        batches = _ended_batches(connection, company["company_id"])
        asked = {"schema": RESULTS_SCHEMA, "special": list(SPECIAL)}
        results = sum(
            connection.execute(
                sql.SQL(queries.DELETE_RESULTS).format(
                    table=sql.Identifier(RESULTS_SCHEMA, table["name"])
                ),
                company,
            ).rowcount
            for table in connection.execute(queries.RESULT_TABLES, asked)
        )
        superseded = connection.execute(queries.DELETE_SUPERSEDED, company).rowcount
        connection.execute(queries.DELETE_ANSWERS, company)
        for batch in batches:
            Line(batch["id"], store.who, "delete", {"companies": 1}).add(connection, batch["rows"])
        connection.execute(queries.DELETE_COMPANY, company)
    return Deleted(len(batches), sum(batch["rows"] for batch in batches), results, superseded)


def _hold(store: OperatorStore, connection: Connection, key: str) -> int:
    found = connection.execute(queries.HOLD_COMPANY, {"key": key}).fetchone()
    if not found:
        raise no_company(store, None, key)
    company_id: int = found["id"]
    return company_id


def _ended_batches(connection: Connection, company_id: int) -> list[Row]:
    batches = connection.execute(queries.BATCHES_OF, {"company_id": company_id}).fetchall()
    for batch in batches:
        if batch["status"] == BatchStatus.RUNNING:
            raise _runs(batch["name"])
    return batches


def _runs(name: str) -> BadInput:
    says = f"Batch {name!r} has not ended, so nothing of it is deleted. To end it"
    return BadInput(says, f"tracer cancel {operand(name)}")
