"""The operator's store: looks up batches, and reads and changes steps and intervals.

Other reads and actions are functions that take this store: see `views`, `steering`, `history`,
`export` and `seeding.batch`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from reconciler.contract.database import CONNECT_TIMEOUT_S, Database, Row
from reconciler.contract.errors import BadInput, NoPolling, did_you_mean
from reconciler.contract.grants import OPERATOR
from reconciler.contract.holds import HoldKind
from reconciler.operator.batch import BatchView

BATCH_BY_NAME = """
SELECT id, name, blueprint, columns, status, priority, paused, created_at, finished_at,
    (SELECT coalesce(sum(arrived), 0)::int FROM progress p
     WHERE p.batch_id = b.id AND p.position = 0) AS companies, now() AS now
FROM batches b
WHERE name = %(name)s
"""

BATCH_NAMES = "SELECT name FROM batches ORDER BY created_at DESC"

STEPS = """
SELECT step_name, app_name, function_name, max_attempts, lease_s, start_deadline_s, backoff_s,
    backoff_max_s, max_in_flight, chunk_size, enabled, hold_after, give_up_after_s, needs, env,
    h.kind AS hold_kind, h.reason AS hold_reason, h.held_at
FROM enrichment_registry
LEFT JOIN holds h USING (step_name)
ORDER BY step_name
"""

# {column} is a column of the registry, as a quoted identifier.
SET_STEP = """
UPDATE enrichment_registry SET {column} = %(value)s WHERE step_name = %(step)s RETURNING step_name
"""

# A registered step keeps its settings: only its app, its function and what it needs change.
# {columns} and {values} are the settings that the step's decorator names.
SYNC_STEP = """
INSERT INTO enrichment_registry (step_name, app_name, function_name, needs, env{columns})
VALUES (%(step_name)s, %(app_name)s, %(function_name)s, %(needs)s, %(env)s{values})
ON CONFLICT (step_name) DO UPDATE
SET app_name = excluded.app_name, function_name = excluded.function_name, needs = excluded.needs,
    env = excluded.env
"""

# resume: the next tick claims rows of the step again. Without kinds, whatever holds it.
RESUME = """
DELETE FROM holds
WHERE step_name = ANY(%(steps)s) AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
RETURNING step_name
"""

POLLING = """
SELECT poll_s, idle_s, every_s, latency_target_s, paused, changed_at, ticked_at, now() AS now
FROM polling
"""

SET_POLLING = """
UPDATE polling
SET poll_s = coalesce(%(poll_s)s, poll_s), idle_s = coalesce(%(idle_s)s, idle_s),
    every_s = coalesce(%(every_s)s, every_s), paused = coalesce(%(paused)s, paused),
    latency_target_s = coalesce(%(latency_target_s)s, latency_target_s),
    changed_at = now()
RETURNING true
"""


class OperatorStore(Database):
    """The database as the operator uses it."""

    role = OPERATOR
    reconnect_s = CONNECT_TIMEOUT_S  # a command does not wait for an outage to end
    who = "unknown"  # the user's name in the history

    def batch(self, name: str) -> BatchView:
        """The batch with that name.

        Raises:
            BadInput: there is none; the message names similar batches, or lists the newest ten.
        """
        found = self.rows(BATCH_BY_NAME, name=name)
        if not found:
            names = self.batch_names()
            known = f" There are: {', '.join(names[:10])}." if names else ""
            says = f"There is no batch {name!r}.{did_you_mean(name, names) or known}"
            raise BadInput(says, None if names else "tracer seed FILE --blueprint a,b")
        return BatchView(**found[0])

    def batch_names(self) -> list[str]:
        """The names of all batches, the newest first."""
        return [row["name"] for row in self.rows(BATCH_NAMES)]

    def steps(self) -> list[Row]:
        """The registry: a row per step, by name."""
        return self.rows(STEPS)

    def _no_step(self, step: str) -> BadInput:
        near = did_you_mean(step, (row["step_name"] for row in self.steps()))
        return BadInput(f"There is no step {step!r}.{near}", None if near else "tracer steps")

    def resume_step(self, step: str) -> bool:
        """Let a step go on, whatever holds it; False if it is not held.

        Raises:
            BadInput: there is no such step.
        """
        if all(row["step_name"] != step for row in self.steps()):
            raise self._no_step(step)
        return bool(self.resume_steps([step]))

    def resume_steps(
        self, steps: Iterable[str], kinds: Iterable[HoldKind] | None = None
    ) -> list[str]:
        """Let held steps go on: those that are held for one of `kinds`; returns their names."""
        asked = {"steps": list(steps), "kinds": None if kinds is None else list(kinds)}
        return sorted(row["step_name"] for row in self.rows(RESUME, **asked))

    def set_step(self, step: str, values: Mapping[str, Any]) -> None:
        """Change registry columns of one step: all of them, or none after an error.

        Raises:
            BadInput: there is no such step, or a value breaks a rule of its column.
        """
        try:
            with self.transaction() as connection:
                for column, value in values.items():
                    query = sql.SQL(SET_STEP).format(column=sql.Identifier(column))
                    if not connection.execute(query, {"value": value, "step": step}).rowcount:
                        raise self._no_step(step)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise BadInput(f"{step}: {str(error).splitlines()[0]}.") from error

    def sync_step(
        self,
        step: str,
        app: str,
        settings: Mapping[str, Any],
        needs: Sequence[str] = (),
        env: Sequence[str] = (),
    ) -> None:
        """Register a step with these settings; a registered one keeps its own.

        `needs` are the steps that must come before it in a blueprint, `env` the secrets that it
        cannot do without.
        """
        names = list(settings)
        query = sql.SQL(SYNC_STEP).format(
            columns=sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(n)) for n in names),
            values=sql.SQL("").join(sql.SQL(", {}").format(sql.Placeholder(n)) for n in names),
        )
        from_code = {"step_name": step, "app_name": app, "function_name": step, "needs": [*needs]}
        from_code["env"] = [*env]
        with self.transaction() as connection:
            connection.execute(query, {**settings, **from_code})

    def polling(self) -> Row:
        """The row of `polling`: intervals in seconds, the pause, the last tick, Postgres's `now`.

        Raises:
            NoPolling: the table has no row.
        """
        found = self.rows(POLLING)
        if not found:
            raise NoPolling
        return found[0]

    def set_polling(
        self,
        poll_s: float | None = None,
        idle_s: float | None = None,
        every_s: float | None = None,
        paused: bool | None = None,
        latency_target_s: float | None = None,
    ) -> None:
        """Change the given values, and keep the others; the next tick reads them.

        Raises:
            BadInput: an interval is not above 0, or the idle interval is below the poll interval.
            NoPolling: the table has no row.
        """
        values = {
            "poll_s": poll_s,
            "idle_s": idle_s,
            "every_s": every_s,
            "paused": paused,
            "latency_target_s": latency_target_s,
        }
        try:
            if not self.rows(SET_POLLING, **values):
                raise NoPolling
        except psycopg.IntegrityError as error:
            raise BadInput(
                "Intervals must be above 0 s, and the idle interval not below the poll interval."
            ) from error
