"""A batch as an operator sees it."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.contract.database import Database
from reconciler.contract.errors import BadInput

# Up to three keys that contain the given text, of one batch or of all.
SIMILAR_KEYS = """
SELECT key FROM companies c
WHERE strpos(lower(key), lower(%(key)s)) > 0
  AND (%(batch_id)s::int IS NULL OR (SELECT true FROM batch_companies m
                                     WHERE m.batch_id = %(batch_id)s AND m.company_id = c.id))
ORDER BY length(key), key
LIMIT 3
"""


@dataclass(frozen=True)
class BatchView:
    """A batch: how it was seeded, and its state. `now` is Postgres's clock at the read."""

    id: int
    name: str
    blueprint: list[str]
    columns: list[str]
    status: str
    priority: int
    paused: bool
    created_at: datetime
    finished_at: datetime | None
    companies: int
    now: datetime


def no_company(database: Database, batch: BatchView | None, key: str) -> BadInput:
    """The error for an unknown key, in the batch or in all; it names similar keys."""
    found = database.rows(SIMILAR_KEYS, key=key, batch_id=batch.id if batch else None)
    near = f" Did you mean {' or '.join(repr(row['key']) for row in found)}?" if found else ""
    where = f"Batch {batch.name!r} has" if batch else "There is"
    return BadInput(f"{where} no company with the key {key!r}.{near}")
