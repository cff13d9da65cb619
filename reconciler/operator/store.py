"""The operator's store: looks up batches, and reads and changes steps and intervals.

Other reads and actions are functions that take this store: see `views`, `steering`, `history`,
`export` and `seeding.batch`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from reconciler.contract.database import CONNECT_TIMEOUT_S, Database, Row
from reconciler.contract.errors import BadInput, NoPolling, did_you_mean
from reconciler.contract.grants import OPERATOR
from reconciler.contract.holds import HoldKind
from reconciler.contract.limits import from_documents, spacing_s
from reconciler.contract.sql.conditions import HAS_ORDERS
from reconciler.operator.batch import BatchView
from reconciler.operator.step_settings import in_words

BATCH_BY_NAME = """
SELECT id, name, blueprint, steps, columns, status, priority, paused, created_at, finished_at,
    client, unapproved,
    (SELECT coalesce(sum(arrived), 0)::int FROM progress p
     WHERE p.batch_id = b.id AND p.position = 0) + unapproved AS companies, now() AS now
FROM batches b
WHERE name = %(name)s
"""

BATCH_NAMES = "SELECT name FROM batches ORDER BY created_at DESC"

STEPS = f"""
SELECT step_name, app_name, function_name, max_attempts, lease_s, start_deadline_s, backoff_s,
    backoff_max_s, max_in_flight, chunk_size, enabled, hold_after, give_up_after_s, needs, env,
    provider, price, fresh_for_s, recall, key_ttl_s, version,
    {HAS_ORDERS.format(r="enrichment_registry")} AS has_orders,
    h.kind AS hold_kind, h.reason AS hold_reason, h.held_at
FROM enrichment_registry
LEFT JOIN holds h USING (step_name)
ORDER BY step_name
"""

# {changes} are columns of the registry, as quoted identifiers, and their values.
SET_STEP = "UPDATE enrichment_registry SET {changes} WHERE step_name = %(step)s"

# A registered step keeps its settings: only what follows the code changes, the {updates}.
SYNC_STEP = """
INSERT INTO enrichment_registry ({columns})
VALUES ({values})
ON CONFLICT (step_name) DO UPDATE SET {updates}
"""
# What is set already, by a person or by earlier code, stays.
SYNC_PROVIDER = """
INSERT INTO providers (name, windows, burst, max_concurrent, spacing_s)
VALUES (%(provider)s, %(windows)s, %(burst)s, %(max_concurrent)s, %(spacing_s)s)
ON CONFLICT (name) DO UPDATE
SET windows = coalesce(providers.windows, excluded.windows),
    burst = CASE WHEN providers.windows IS NULL THEN excluded.burst ELSE providers.burst END,
    spacing_s = CASE WHEN providers.windows IS NULL
        THEN greatest(providers.spacing_s, excluded.spacing_s) ELSE providers.spacing_s END,
    max_concurrent = coalesce(providers.max_concurrent, excluded.max_concurrent)
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

    def require_step(self, step: str) -> None:
        """Do nothing if the step is registered.

        Raises:
            BadInput: there is no such step; the message names a similar one.
        """
        if all(row["step_name"] != step for row in self.steps()):
            raise self._no_step(step)

    def _no_step(self, step: str) -> BadInput:
        near = did_you_mean(step, (row["step_name"] for row in self.steps()))
        return BadInput(f"There is no step {step!r}.{near}", None if near else "tracer steps")

    def resume_step(self, step: str) -> bool:
        """Let a step go on, whatever holds it; False if it is not held.

        Raises:
            BadInput: there is no such step.
        """
        self.require_step(step)
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
        change = sql.SQL("{} = {}")
        changes = [change.format(sql.Identifier(n), sql.Placeholder(n)) for n in values]
        query = sql.SQL(SET_STEP).format(changes=sql.SQL(", ").join(changes))
        with in_words(step, values), self.transaction() as connection:
            if not connection.execute(query, {**values, "step": step}).rowcount:
                raise self._no_step(step)

    def sync_step(
        self,
        step: str,
        app: str,
        settings: Mapping[str, Any],
        from_code: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Register a step with these settings; a registered one keeps its own.

        `from_code` are the columns in which the registry always follows the code: see `FROM_CODE`.

        Raises:
            BadInput: a value breaks a rule of its column.
        """
        follows = {"app_name": app, "function_name": step, **from_code}
        values = {"step_name": step, **follows, **settings}
        update = sql.SQL("{0} = excluded.{0}")
        query = sql.SQL(SYNC_STEP).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, values)),
            values=sql.SQL(", ").join(map(sql.Placeholder, values)),
            updates=sql.SQL(", ").join(update.format(sql.Identifier(name)) for name in follows),
        )
        with in_words(step, values), self.transaction() as connection:
            connection.execute(query, values)

    def sync_provider(self, provider: str, limits: Mapping[str, Any]) -> None:
        """Register a provider with these first limits; one that has limits keeps its own."""
        windows = from_documents(limits["windows"])
        values = {
            **limits,
            "windows": Jsonb(limits["windows"]) if windows else None,
            "spacing_s": spacing_s(windows),
        }
        self.rows(SYNC_PROVIDER, provider=provider, **values)

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
