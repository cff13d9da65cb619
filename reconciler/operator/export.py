"""Reads a batch's companies with their results, for an export: streamed; flat or nested."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from psycopg import sql
from sqlalchemy import Table

from reconciler.contract.database import Row
from reconciler.contract.session import LIFT_TIME
from reconciler.contract.sql.conditions import LIVE
from reconciler.operator.batch import BatchView
from reconciler.operator.exact_json import read_exactly
from reconciler.operator.seeding.columns import unique_names
from reconciler.operator.store import OperatorStore
from reconciler.operator.views import batch_names

# A step (None: the input file) and a column. For a step, column None is its status, and ERROR its
# error; (None, None) is the key.
Source: TypeAlias = "tuple[str | None, str | None]"
Columns: TypeAlias = Mapping[str, Source]
Tables: TypeAlias = Mapping[str, Table]  # each step's domain table

WRITTEN_BY_US = {"company_id", "written_for", "written_with"}
ERROR = ""  # no column has this name
_STATE = {None: "status", ERROR: "error"}
# Where a result is from. A blank comes first, since no column's name begins with one.
ORIGINS = (" batch", " version", " order", " provider", " price", " charged")
EXPORT_ROWS = 2000  # fetched at a time

# {results} joins the domain tables of the steps, {fields} lists what is read from them, {chosen}
# says which companies.
# The input is that of the batch's own file; another file may have changed the company since.
EXPORT = """
SELECT c.key, CASE WHEN m.attributes IS NULL THEN c.name ELSE m.name END AS name,
    CASE WHEN m.attributes IS NULL THEN c.domain ELSE m.domain END AS domain,
    coalesce(m.attributes, c.attributes) AS attributes{fields}
FROM batch_companies m
JOIN companies c ON c.id = m.company_id
{results}
WHERE m.batch_id = %(batch_id)s AND {chosen}
ORDER BY c.id
"""
EXPORT_FIELDS = """, {state}.status AS {status_name}, {state}.error AS {error_name},
    row_to_json({result}.*) AS {result_name}"""
# The order whose answer the result was read from, null for a step that buys nothing.
EXPORT_ORDER = f""", (
    SELECT json_build_object('order', o.id, 'provider', o.provider, 'price', o.price,
        'charged', o.charged, 'answered_at', o.answered_at)
    FROM orders o
    WHERE o.company_id = c.id AND o.step_name = {{step}} AND {LIVE}
      AND o.batch_id IS NOT DISTINCT FROM {{result}}.written_for AND o.answered_at IS NOT NULL
    ORDER BY o.made_at DESC
    LIMIT 1) AS {{order_name}}"""
EXPORT_JOIN = """
LEFT JOIN workflow_states {state}
    ON {state}.company_id = c.id AND {state}.batch_id = m.batch_id AND {state}.step_name = {step}
LEFT JOIN {table} {result} ON {result}.company_id = c.id AND {state}.status = 'COMPLETED'
"""


class Which(StrEnum):
    """Which companies: all, those that have reached a step, those that have failed in one."""

    ALL = "true"
    REACHED = "{state}.status IS NOT NULL"
    FAILED = "{state}.status = 'FAILED'"


def flat_rows(store: OperatorStore, batch: BatchView, tables: Tables) -> Iterator[Row]:
    """The batch's companies in their flat form, streamed: a value per column of `columns_of`."""
    columns = columns_of(batch, tables)
    for row in read_companies(store, batch, tables):
        yield {name: value(row, source) for name, source in columns.items()}


def read_companies(
    store: OperatorStore,
    batch: BatchView,
    tables: Tables,
    which: Which = Which.ALL,
    *,
    orders: bool = False,
) -> Iterator[Row]:
    """One row per company of the batch, streamed; `which` is about the steps of `tables`.

    Each has key, name, domain, attributes, and per step `STEP.status`, `STEP.error`, `STEP.result`
    and `STEP.source`. The result is the newest that found something, of any batch, where this
    batch's row is COMPLETED. The source says where it is from: `batch` (its name, None if it is
    deleted or not known), `version` (of the step's code) and `written_at`; with `orders` also what
    was bought: `order`, `provider`, `price`, `charged`, `answered_at`. It is None without a result.
    """
    names = batch_names(store)
    parts = [_step_sql(n, step, table, orders) for n, (step, table) in enumerate(tables.items())]
    chosen = [
        sql.SQL(which.value).format(state=sql.Identifier(f"s{n}")) for n in range(len(tables))
    ]
    query = sql.SQL(EXPORT).format(
        fields=sql.SQL("").join(fields for fields, _ in parts),
        results=sql.SQL("").join(join for _, join in parts),
        chosen=sql.SQL("({})").format(sql.SQL(" OR ").join(chosen)),
    )
    with store.transaction() as connection, connection.cursor("export") as cursor:
        connection.execute(LIFT_TIME)  # a view keeps to limits, an export takes its time
        read_exactly(cursor)
        cursor.itersize = EXPORT_ROWS
        cursor.execute(query, {"batch_id": batch.id})
        for row in cursor:
            for step in tables:
                source = _source(row[f"{step}.result"], names)
                bought = row.pop(f"{step}.order", None) or {}
                row[f"{step}.source"] = source and source | bought
            yield row


def _source(result: Row | None, names: Mapping[int, str]) -> Row | None:
    """Where a result is from; what is only for that is taken out of it."""
    if result is None:
        return None
    batch_id, version = (result.pop(name, None) for name in ("written_for", "written_with"))
    return {
        "batch": names.get(batch_id),
        "version": version,
        "written_at": result.get("written_at"),
    }


def _step_sql(
    number: int, step: str, table: Table, orders: bool
) -> tuple[sql.Composed, sql.Composed]:
    """A step's part of EXPORT: its fields, and its join."""
    state, result = sql.Identifier(f"s{number}"), sql.Identifier(f"r{number}")
    fields = sql.SQL(EXPORT_FIELDS + EXPORT_ORDER if orders else EXPORT_FIELDS).format(
        step=sql.Literal(step),
        order_name=sql.Identifier(f"{step}.order"),
        state=state,
        result=result,
        status_name=sql.Identifier(f"{step}.status"),
        error_name=sql.Identifier(f"{step}.error"),
        result_name=sql.Identifier(f"{step}.result"),
    )
    domain_table = sql.Identifier(str(table.schema), table.name)
    join = sql.SQL(EXPORT_JOIN).format(
        state=state, result=result, step=sql.Literal(step), table=domain_table
    )
    return fields, join


def columns_of(
    batch: BatchView, tables: Tables, errors: bool = False, origins: bool = False
) -> dict[str, Source]:
    """The columns of the flat form, each name once, with their sources.

    They are: key, the input's columns, and per step `STEP.status`, with `errors` `STEP.error`, and
    `STEP.COLUMN`; with `origins` also where it is from, as `STEP.order`. A column whose name is
    taken gets a number: `key_2`.
    """
    first: tuple[str | None, ...] = (None, ERROR) if errors else (None,)
    results: list[Source] = []
    for step, table in tables.items():
        names = [c.name for c in table.columns if c.name not in WRITTEN_BY_US]
        results += [(step, name) for name in (*first, *names, *(ORIGINS if origins else ()))]
    of_results = [f"{step}.{str(_STATE.get(column, column)).strip()}" for step, column in results]
    names = unique_names(["key", *of_results, *batch.columns])
    sources = [(None, None), *results, *((None, column) for column in batch.columns)]
    by_name, ours = dict(zip(names, sources, strict=True)), 1 + len(results)
    return {name: by_name[name] for name in (names[0], *names[ours:], *names[1:ours])}


def value(row: Row, source: Source) -> Any:
    """A company's value from this source."""
    match source:
        case (None, None):
            return row["key"]
        case (None, column):
            return row["attributes"].get(column)
        case (step, None | "" as column):
            return row[f"{step}.{_STATE[column]}"]
        case (step, column) if column in ORIGINS:
            return (row[f"{step}.source"] or {}).get(column.strip())
        case (step, column):
            return (row[f"{step}.result"] or {}).get(column)
