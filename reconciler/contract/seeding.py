"""Brings a batch in: staged by COPY, then sorted into companies, batch and rows by whole sets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from reconciler.contract.database import Connection, Row
from reconciler.contract.errors import BadInput
from reconciler.contract.queries import seeding
from reconciler.contract.queries.progress import LOG_SEEDED

SeedRow = tuple[int, str, str | None, str | None, Mapping[str, Any]]  # line, key, name, domain, …


@dataclass(frozen=True)
class Seeded:
    """What a seeding brought in; a duplicate is a row whose key that of `first_line` had."""

    batch: str
    companies_new: int
    companies_known: int
    duplicates: list[Row]  # line, key, first_line


def seed_batch(
    connection: Connection,
    rows: Iterable[SeedRow],
    name: str,
    blueprint: Sequence[str],
    columns: Sequence[str],
    priority: int,
) -> Seeded:
    """Seed inside the transaction of `connection`; see `OperatorStore.seed`."""
    connection.execute(seeding.STAGE)
    with connection.cursor().copy(seeding.COPY) as copy:
        for line, key, company, domain, attributes in rows:
            copy.write_row((line, key, company, domain, json.dumps(attributes)))
    connection.execute(seeding.SEEDING_TURN)
    counts = connection.execute(seeding.COUNT).fetchone()
    if not counts or not counts["keys"]:
        raise BadInput("Nothing was seeded: no row of the file can be used.")
    connection.execute(seeding.COMPANIES)
    about = {"blueprint": Jsonb(list(blueprint)), "columns": Jsonb(list(columns))}
    batch = connection.execute(
        seeding.BATCH, {"name": name, "priority": priority, **about}
    ).fetchone()
    assert batch is not None  # one number of the series is always free
    connection.execute(seeding.MEMBERS, {"batch_id": batch["id"]})
    connection.execute(seeding.STATES, {"batch_id": batch["id"], "step": blueprint[0]})
    connection.execute(LOG_SEEDED, {"batch_id": batch["id"]})
    return Seeded(
        batch=batch["name"],
        companies_new=counts["keys"] - counts["known"],
        companies_known=counts["known"],
        duplicates=connection.execute(seeding.DUPLICATES).fetchall(),
    )
