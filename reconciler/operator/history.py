"""The history of a batch: each act of an operator, with its time, user and number of rows."""

from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from reconciler.contract.column_types import storable_text
from reconciler.contract.database import Connection, Row
from reconciler.operator.batch import BatchView
from reconciler.operator.store import OperatorStore

# A line is written in the same transaction as the act itself.
NOTE = """
INSERT INTO history (batch_id, who, verb, detail, rows)
VALUES (%(batch_id)s, %(who)s, %(verb)s, %(detail)s, %(rows)s)
RETURNING id
"""

# A verb that moves its rows in several transactions adds to its line in each of them.
NOTE_MORE = "UPDATE history SET rows = rows + %(rows)s WHERE id = %(line)s"

HISTORY = """
SELECT at, who, verb, detail, rows FROM history WHERE batch_id = %(batch_id)s ORDER BY id
"""


@dataclass
class Line:
    """One verb's line in the history; it is inserted with the first rows that the verb moves."""

    batch_id: int
    who: str
    verb: str
    detail: Row = field(default_factory=dict)
    id: int | None = None

    def add(self, connection: Connection, rows: int) -> None:
        """Add `rows` to the line; call it in the transaction that moves them."""
        if self.id is not None:
            connection.execute(NOTE_MORE, {"line": self.id, "rows": rows})
            return
        values = {"batch_id": self.batch_id, "who": storable_text(self.who), "verb": self.verb}
        about = {"detail": Jsonb(self.detail), "rows": rows}
        made = connection.execute(NOTE, values | about).fetchone()
        assert made is not None
        self.id = made["id"]


def read_history(store: OperatorStore, batch: BatchView) -> list[Row]:
    """The batch's history, oldest first: `at`, `who`, `verb`, `detail`, `rows`."""
    return store.rows(HISTORY, batch_id=batch.id)
