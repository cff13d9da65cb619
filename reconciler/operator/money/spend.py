"""Where the money went: by batch, step, provider, client or day."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg import sql

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.operator.sql import money as queries
from reconciler.operator.store import OperatorStore

COUNTS = ("bought", "hits", "unknown", "reused")


class By(StrEnum):
    """What spend is added up by."""

    BATCH = "batch"
    STEP = "step"
    PROVIDER = "provider"
    CLIENT = "client"
    DAY = "day"


def read_day(given: str) -> date:
    """The day that is written so.

    Raises:
        BadInput: it is none.
    """
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise BadInput(f"{given!r} is not a day: write 2026-01-31.") from error


def read_spend(
    store: OperatorStore, by: By, batch: str | None = None, since: date | None = None
) -> Row:
    """What was spent, of a batch or of all: `by`, `batch`, `since`, `rows` and their `total`.

    Each row has its name under the word of `by`, `bought`, `hits`, `unknown`, `reused`, `charged`,
    `hit_rate`, the share of hits, and `per_hit`: what a hit has cost, None without one.

    Raises:
        BadInput: there is no such batch, and there was none that has bought.
    """
    if batch is not None and not store.rows(queries.KNOWN_SPENDER, batch=batch):
        store.batch(batch)
    found = read_spent(store, by, batch, since)
    total: dict[str, Any] = {name: sum(row[name] for row in found) for name in COUNTS}
    total["charged"] = sum((row["charged"] for row in found), Decimal(0))
    return {
        "by": by.value,
        "batch": batch,
        "since": since,
        "rows": found,
        "total": with_price(total),
    }


def read_spent(
    store: OperatorStore, by: By, batch: str | None = None, since: date | None = None
) -> list[Row]:
    """The rows of `read_spend`; none where nothing was spent."""
    column = sql.Identifier("step_name" if by is By.STEP else by.value)
    query = sql.SQL(queries.SPEND).format(by=column, name=sql.Identifier(by.value))
    return [with_price(row) for row in store.rows(query, batch=batch, since=since)]


def with_price(row: Row) -> Row:
    """Add what a hit has cost, to four digits behind the point, and the share of hits."""
    per_hit = (row["charged"] / row["hits"]).quantize(Decimal("0.0001")) if row["hits"] else None
    rate = round(row["hits"] / row["bought"], 4) if row["bought"] else None
    return {**row, "hit_rate": rate, "per_hit": per_hit}
