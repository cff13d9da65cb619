"""The statements of the poll loop: the clock, the newest loop, and the log of ticks."""

from reconciler.contract.sql.conditions import TO_SETTLE
from reconciler.contract.sql.progress import log

# Writes the tick's time and reads the clock and the intervals, in one round trip. Returns no row if
# the schema has another revision than the code.
BEAT = f"""
UPDATE polling SET ticked_at = now()
WHERE id = 1 AND (SELECT version_num FROM tracer_version) = %(revision)s
RETURNING now() AS now, poll_s, idle_s, every_s, latency_target_s, paused, generation,
    changed_at, ticked_at,
    (SELECT true FROM batches WHERE status = 'RUNNING' AND NOT batches.paused LIMIT 1)
        IS NOT NULL
    OR (SELECT true FROM orders WHERE {TO_SETTLE} ORDER BY made_at LIMIT 1) IS NOT NULL AS busy
"""

# The newest loop takes over. The older one sees a new generation before its next tick, and leaves.
TAKE_OVER = "UPDATE polling SET generation = generation + 1 WHERE id = 1 RETURNING generation"

RECORD_TICK = """
INSERT INTO ticks (at, duration_ms, retried, failed, advanced, claimed, spawned, released, unknown,
    calls_cancelled, finished)
VALUES (%(at)s, %(duration_ms)s, %(retried)s, %(failed)s, %(advanced)s, %(claimed)s, %(spawned)s,
    %(released)s, %(unknown)s, %(calls_cancelled)s, %(finished)s)
"""

PRUNE_TICKS = "DELETE FROM ticks WHERE at < %(before)s"

# Entries of the last hour stay as they are; older ones are summed per minute.
FOLD = f"""
WITH old AS (
    DELETE FROM progress WHERE at < %(before)s AND at <> date_trunc('minute', at)
    RETURNING batch_id, position, date_trunc('minute', at) AS at, arrived, completed,
        not_found, skipped
)
{
    log(
        "SELECT batch_id, position, at, sum(arrived), sum(completed), sum(not_found), sum(skipped)"
        " FROM old"
        " GROUP BY batch_id, position, at"
    )
}
"""
