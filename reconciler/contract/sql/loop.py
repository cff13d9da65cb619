"""The statements of the loop around the ticks: its clock, its turn, and what its ticks did."""

from reconciler.contract.sql.progress import log

# The clock, the intervals and the sign of life in one round trip; nothing where the schema is not
# the one that the code knows.
BEAT = """
UPDATE polling SET ticked_at = now()
WHERE id = 1 AND (SELECT version_num FROM alembic_version) = %(revision)s
RETURNING now() AS now, poll_s, idle_s, every_s, latency_target_s, paused, generation,
    changed_at, ticked_at,
    (SELECT true FROM batches WHERE status = 'RUNNING' AND NOT batches.paused LIMIT 1)
        IS NOT NULL AS busy
"""

# The newest loop takes over; the older one sees another generation at its next tick, and leaves.
TAKE_OVER = "UPDATE polling SET generation = generation + 1 WHERE id = 1 RETURNING generation"

RECORD_TICK = """
INSERT INTO ticks (at, duration_ms, retried, failed, advanced, claimed, spawned, released, unknown,
    calls_cancelled, finished)
VALUES (%(at)s, %(duration_ms)s, %(retried)s, %(failed)s, %(advanced)s, %(claimed)s, %(spawned)s,
    %(released)s, %(unknown)s, %(calls_cancelled)s, %(finished)s)
"""

PRUNE_TICKS = "DELETE FROM ticks WHERE at < %(before)s"

# The log by the second is for the last hour; what is older is kept by the minute.
FOLD = f"""
WITH old AS (
    DELETE FROM progress WHERE at < %(before)s AND at <> date_trunc('minute', at)
    RETURNING batch_id, position, date_trunc('minute', at) AS at, arrived, completed
)
{
    log(
        "SELECT batch_id, position, at, sum(arrived), sum(completed) FROM old"
        " GROUP BY batch_id, position, at"
    )
}
"""
