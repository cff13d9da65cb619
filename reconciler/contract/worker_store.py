"""The workers' verbs: begin, heartbeat, complete, fail, miss, skip; each fenced by its attempt."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from reconciler.contract.column_types import SCHEMA_REVISION, storable_text
from reconciler.contract.database import Database
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.grants import WORKER
from reconciler.contract.results import Company, StepResult
from reconciler.contract.sql import worker as queries
from reconciler.contract.states import Status


@dataclass(frozen=True)
class Attempt:
    """One attempt at one company: `begin` returns it, and every later verb needs it.

    `lease_s` is the step's lease in seconds.
    """

    company: Company
    step_name: str
    batch_id: int
    attempt: int
    lease_s: float


@dataclass(frozen=True)
class Failure:
    """Why an attempt has no result.

    `ends`: the status in which the row ends at once, FAILED, NOT_FOUND or SKIPPED. None: it failed,
    and the tick decides whether there is another attempt, in `retry_after_s` seconds at the
    earliest. Only NOT_FOUND needs no `error`; without one, there is no `kind` either.

    Raises:
        ValueError: a row cannot end so, or the text is missing.
    """

    error: str | None
    ends: Status | None = None
    retry_after_s: float = 0.0
    kind: ErrorKind = ErrorKind.RAISED

    def __post_init__(self) -> None:
        if self.ends not in (None, Status.FAILED, Status.NOT_FOUND, Status.SKIPPED):
            raise ValueError(f"an attempt without a result does not end as {self.ends}")
        if self.error is None and self.ends is not Status.NOT_FOUND:
            raise ValueError("say why there is no result")


class WorkerStore(Database):
    """The database, as the workers use it."""

    role = WORKER

    def begin(
        self, step_name: str, company_ids: Sequence[int], call_id: str | None = None
    ) -> list[Attempt]:
        """Take those of `company_ids` that are QUEUED for the step; the others are not this call's.

        A call that arrives twice, or late, finds nothing QUEUED and gets an empty list. `call_id`
        is written here too: a dispatch that got no answer does not know it.

        Raises:
            BadInput: the schema has another revision than this code: it was migrated since.
        """
        rows = self.rows(
            queries.BEGIN,
            step=step_name,
            company_ids=list(company_ids),
            call_id=call_id,
            revision=SCHEMA_REVISION,
        )
        if not rows:
            self.check_revision()
        return [
            Attempt(
                company=Company(
                    **{name: row[name] for name in ("id", "key", "name", "domain", "attributes")},
                    idempotency_key=f"tracer-{row['batch_id']}-{step_name}-{row['id']}",
                ),
                step_name=step_name,
                batch_id=row["batch_id"],
                attempt=row["attempt"],
                lease_s=row["lease_s"],
            )
            for row in rows
        ]

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[int]:
        """Renew the leases; returns the ids of the companies whose attempt is still the same."""
        if not attempts:
            return set()
        rows = self.rows(queries.HEARTBEAT, **_row_arrays(attempts), lease_s=attempts[0].lease_s)
        return {row["company_id"] for row in rows}

    def complete(self, attempts: Sequence[Attempt], results: Sequence[StepResult]) -> set[int]:
        """Write COMPLETED and results in one statement: for all of one step's `attempts`, or none.

        Returns the ids of the companies that were won. A stale attempt wins and writes nothing.

        Raises:
            psycopg.Error: a result does not fit its table; nothing was written.
            ValueError: a result cannot be written as JSON, such as NaN.
        """
        if not attempts:
            return set()
        documents = [
            {**result.model_dump(mode="json"), "company_id": attempt.company.id}
            for attempt, result in zip(attempts, results, strict=True)
        ]
        statement = _complete_statement(type(results[0]))
        rows = json.dumps(documents, allow_nan=False)
        won = self.rows(statement, **_row_arrays(attempts), rows=rows)
        return {row["company_id"] for row in won}

    def fail(self, attempts: Sequence[Attempt], failures: Sequence[Failure]) -> set[int]:
        """Write why attempts have no result: fail, miss or skip, as each says.

        Returns the ids of the companies that were won. A stale attempt wins and writes nothing.
        """
        if not attempts:
            return set()
        rows = self.rows(
            queries.FAIL,
            **_row_arrays(attempts),
            errors=[failure.error and storable_text(failure.error) for failure in failures],
            kinds=[None if failure.error is None else failure.kind for failure in failures],
            ends=[failure.ends for failure in failures],
            retry_after_s=[float(failure.retry_after_s) for failure in failures],
        )
        return {row["company_id"] for row in rows}


def _row_arrays(attempts: Sequence[Attempt]) -> dict[str, list[Any]]:
    return {
        "company_ids": [a.company.id for a in attempts],
        "steps": [a.step_name for a in attempts],
        "batch_ids": [a.batch_id for a in attempts],
        "attempts": [a.attempt for a in attempts],
    }


def _complete_statement(table: type[StepResult]) -> sql.Composed:
    description = table.__table__  # type: ignore[attr-defined]
    names = [c.name for c in description.columns if c.name != "written_at"]
    updated = [name for name in names if name != "company_id"]
    updates = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in updated]
    return sql.SQL(queries.COMPLETE).format(
        table=sql.Identifier(description.schema, description.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        updates=sql.SQL(", ").join([*updates, sql.SQL("written_at = excluded.written_at")]),
    )
