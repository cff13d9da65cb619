"""Brings a batch in: staged by COPY, then sorted into companies, batch and rows by whole sets."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.sql.progress import LOG_SEEDED
from reconciler.operator.history import Line
from reconciler.operator.sql import seeding
from reconciler.operator.store import OperatorStore

# line, key, name, domain, and all attributes: by name, or as the text of a JSON object
SeedRow = tuple[int, str, str | None, str | None, Mapping[str, Any] | str]
# As what COPY gets them: found out for each value, it is 1.4 µs a row instead of 1.1.
TYPES = ("int8", "text", "text", "text", "text")


@dataclass(frozen=True)
class Seeded:
    """What a seeding brought in; a duplicate is a row whose key that of `first_line` had."""

    batch: str
    companies_new: int
    companies_known: int
    duplicates: list[Row]  # line, key, first_line


def seed_batch(
    store: OperatorStore,
    rows: Iterable[SeedRow],
    *,
    name: str,
    blueprint: Sequence[str],
    columns: Sequence[str],
    priority: int = 0,
    begun: Callable[[str], None] = lambda _: None,
) -> Seeded:
    """Bring a batch in, whole or not at all; `columns` may still grow while `rows` are read.

    `begun` is told what Postgres does next, once `rows` are read.

    Raises:
        BadInput: there is no row to seed.
        WorkFailed: the database refused the rows.
    """
    try:
        with store.transaction() as connection:
            given = (name, blueprint, columns, priority, begun)
            return _seed(connection, rows, *given, store.who)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        reason = str(error).splitlines()[0]
        raise WorkFailed(f"Nothing was seeded: the database refused it: {reason}.") from error


def _seed(
    connection: Connection,
    rows: Iterable[SeedRow],
    name: str,
    blueprint: Sequence[str],
    columns: Sequence[str],
    priority: int,
    begun: Callable[[str], None],
    who: str,
) -> Seeded:
    staged = _stage(connection, rows)
    begun("waits for another seeding to end")
    connection.execute(seeding.SEEDING_TURN)
    if not staged:
        raise BadInput("Nothing was seeded: no row of the file can be used.")
    about = {"blueprint": Jsonb(list(blueprint)), "columns": Jsonb(list(columns))}
    batch = connection.execute(
        seeding.BATCH, {"name": name, "priority": priority, **about}
    ).fetchone()
    assert batch is not None  # one number of the series is always free
    begun("sorts companies in")
    new, known = _members(connection, batch["id"], staged)
    begun("adds a row for each of them")
    connection.execute(seeding.STATES, {"batch_id": batch["id"], "step": blueprint[0]})
    connection.execute(LOG_SEEDED, {"batch_id": batch["id"]})
    detail = {"blueprint": list(blueprint), "priority": priority}
    Line(batch["id"], who, "seed", detail).add(connection, new + known)
    repeated = new + known < staged
    return Seeded(
        batch=batch["name"],
        companies_new=new,
        companies_known=known,
        duplicates=connection.execute(seeding.DUPLICATES).fetchall() if repeated else [],
    )


def _stage(connection: Connection, rows: Iterable[SeedRow]) -> int:
    """Send the rows to the database as they come; returns how many there were."""
    connection.execute(seeding.STAGE)
    cursor = connection.cursor()
    with cursor.copy(seeding.COPY) as copy:
        copy.set_types(TYPES)
        for line, key, company, domain, attributes in rows:
            text = attributes if isinstance(attributes, str) else json.dumps(attributes)
            copy.write_row((line, key, company, domain, text))
    return cursor.rowcount


def _members(connection: Connection, batch_id: int, staged: int) -> tuple[int, int]:
    """Make what companies are new, and all of them members; how many were new, and known."""
    batch = {"batch_id": batch_id}
    connection.execute(seeding.INDEXED)
    new = connection.execute(seeding.NEW, batch).rowcount
    if new == staged:
        return new, 0
    if new == connection.execute(seeding.KEYS).fetchall()[0]["keys"]:
        return new, 0
    connection.execute(seeding.LEARN)
    return new, connection.execute(seeding.KNOWN, batch).rowcount
