"""All of a batch's companies with their results, streamed."""

from collections.abc import Iterator, Mapping

from psycopg import sql

from reconciler.contract.database import Row
from reconciler.operator.batch import BatchView
from reconciler.operator.sql import views
from reconciler.operator.store import OperatorStore

EXPORT_ROWS = 2000  # fetched at a time


def export_rows(
    store: OperatorStore, batch: BatchView, tables: Mapping[str, tuple[str, str]]
) -> Iterator[Row]:
    """One row per company of the batch, streamed; `tables` names each step's (schema, table).

    Each has key, name, domain, attributes, and per step `STEP.status` and `STEP.result`.
    """
    parts = [_export_step(i, step, *tables[step]) for i, step in enumerate(batch.blueprint)]
    query = sql.SQL(views.EXPORT).format(
        fields=sql.SQL("").join(fields for fields, _ in parts),
        results=sql.SQL("").join(join for _, join in parts),
    )
    with store.transaction() as connection, connection.cursor("export") as cursor:
        cursor.itersize = EXPORT_ROWS
        cursor.execute(query, {"batch_id": batch.id})
        yield from cursor


def _export_step(
    number: int, step: str, schema: str, table: str
) -> tuple[sql.Composed, sql.Composed]:
    state, result = sql.Identifier(f"s{number}"), sql.Identifier(f"r{number}")
    fields = sql.SQL(views.EXPORT_FIELDS).format(
        state=state,
        result=result,
        status_name=sql.Identifier(f"{step}.status"),
        result_name=sql.Identifier(f"{step}.result"),
    )
    join = sql.SQL(views.EXPORT_JOIN).format(
        state=state, result=result, step=sql.Literal(step), table=sql.Identifier(schema, table)
    )
    return fields, join
