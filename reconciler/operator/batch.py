"""A batch as an operator sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.contract.database import Database
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.operator.seeding.identity import spellings
from reconciler.operator.sql.approval import UNAPPROVED
from reconciler.operator.wording import operand

# The first of these keys that there is.
KNOWN_KEY = """
SELECT key FROM companies
WHERE key = ANY(%(keys)s::text[])
ORDER BY array_position(%(keys)s::text[] COLLATE "C", key)
LIMIT 1
"""

# Up to three keys, of one batch or of all, whose key or name contains the text, or is part of it.
SIMILAR_KEYS = """
SELECT key FROM companies c
WHERE (strpos(lower(key), lower(%(text)s)) > 0 OR strpos(lower(name), lower(%(text)s)) > 0
       OR (length(key) > 3 AND strpos(lower(%(text)s), lower(key)) > 0))
  AND (%(batch_id)s::int IS NULL OR (SELECT true FROM batch_companies m
                                     WHERE m.batch_id = %(batch_id)s AND m.company_id = c.id))
ORDER BY abs(length(key) - length(%(text)s)), key
LIMIT 3
"""


@dataclass(frozen=True)
class BatchView:
    """A batch: how it was seeded, and its state. `now` is Postgres's clock at the read.

    `unapproved`: those of its `companies` that wait beyond its sample.
    """

    id: int
    name: str
    blueprint: list[Any]
    steps: list[str]
    columns: list[str]
    status: str
    priority: int
    paused: bool
    created_at: datetime
    finished_at: datetime | None
    companies: int
    now: datetime
    client: str | None = None
    unapproved: int = 0

    def require_step(self, step: str) -> None:
        """Do nothing if the blueprint has the step.

        Raises:
            BadInput: it has not; the message names a similar one, or all that it has.
        """
        if step not in self.steps:
            near = did_you_mean(step, self.steps) or f" It has: {', '.join(self.steps)}."
            raise BadInput(f"Batch {self.name!r} has no step {step!r}.{near}")


def known_key(database: Database, text: str) -> str:
    """The key of the company that a person means by a text: by www.acme.com, acme.com.

    It is the text itself if there is no such company.
    """
    found = database.rows(KNOWN_KEY, keys=spellings(text))
    return str(found[0]["key"]) if found else text


def no_company(database: Database, batch: BatchView | None, key: str) -> BadInput:
    """The error for an unknown key, in the batch or in all; it names similar keys.

    Also for a company that waits for the batch's approval, and so has no row yet.
    """
    if batch and database.rows(UNAPPROVED, batch_id=batch.id, key=known_key(database, key)):
        says = f"{key!r} is not in the sample of batch {batch.name!r}. To let all its companies go"
        return BadInput(says, f"tracer approve {operand(batch.name)}")
    found = database.rows(SIMILAR_KEYS, text=key, batch_id=batch.id if batch else None)
    near = f" Did you mean {' or '.join(repr(row['key']) for row in found)}?" if found else ""
    where = f"Batch {batch.name!r} has" if batch else "There is"
    return BadInput(f"{where} no company with the key {key!r}.{near}")
