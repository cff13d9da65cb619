"""Which of the batches that a loop has worked on have failed rows."""

from dataclasses import dataclass

from reconciler.contract.sql.conditions import AT_FAULT
from reconciler.contract.store import Store

OPEN = """
SELECT coalesce(array_agg(id) FILTER (WHERE status = 'RUNNING'), '{}') AS running,
    coalesce(max(id), 0) AS newest
FROM batches
"""
# A batch that was seeded since then has a higher id. By the index of rows at fault.
FAILED = f"""
SELECT b.name, failed.rows
FROM batches b
CROSS JOIN LATERAL (
    SELECT count(*) AS rows FROM workflow_states
    WHERE batch_id = b.id AND status = 'FAILED' AND {AT_FAULT}
) failed
WHERE (b.id = ANY(%(running)s) OR b.id > %(newest)s) AND failed.rows > 0
ORDER BY b.id
"""


@dataclass(frozen=True)
class Since:
    """The batches that ran at a moment, and the id of the newest batch then."""

    running: list[int]
    newest: int


def newest(store: Store) -> Since:
    """The batches as they are now."""
    return Since(**store.rows(OPEN)[0])


def failed_since(store: Store, since: Since) -> dict[str, int]:
    """The number of failed rows, by the name of the batch, of batches that have run since then."""
    found = store.rows(FAILED, running=since.running, newest=since.newest)
    return {row["name"]: row["rows"] for row in found}
