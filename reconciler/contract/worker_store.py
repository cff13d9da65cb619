"""The workers' verbs: begin, heartbeat, complete, fail, miss, skip; each fenced by its attempt."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from psycopg import sql

from reconciler.contract.attributes import own_row
from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.column_types import SCHEMA_REVISION, storable_text
from reconciler.contract.database import Database, Row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.grants import WORKER
from reconciler.contract.results import Company, StepResult
from reconciler.contract.secrets import masked, masked_values
from reconciler.contract.sql import worker as queries
from reconciler.contract.states import Status


@dataclass(frozen=True)
class Attempt:
    """One attempt at one company: `begin` returns it, and every later verb needs it.

    `lease_s` is the step's lease in seconds. `inputs` are the earlier results that the step takes,
    each a row as JSON, or None where there is none.
    """

    company: Company
    step_name: str
    batch_id: int
    attempt: int
    lease_s: float
    inputs: Mapping[str, str | None] = field(default_factory=dict)


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
    holder: str | None = None  # this process, where a host on this machine has started it

    def begin(
        self,
        step_name: str,
        company_ids: Sequence[int],
        call_id: str | None = None,
        inputs: Mapping[str, type[StepResult]] | None = None,
        *,
        alone: bool = False,
    ) -> list[Attempt]:
        """Take those of `company_ids` that are QUEUED for the step; the others are not this call's.

        A call that arrives twice, or late, finds nothing QUEUED and gets an empty list. `call_id`
        is written here too: a dispatch that got no answer does not know it. `inputs` are the tables
        of which the step takes the company's row, by any names. Rows that were lost with a worker
        are taken only if this process works these `alone`: see `are_suspect`.

        Raises:
            BadInput: the schema has another revision than this code: it was migrated since.
        """
        inputs = inputs or {}
        rows = self.rows(
            _begin_statement(tuple(inputs.items())),
            step=step_name,
            company_ids=list(company_ids),
            call_id=call_id,
            holder=self.holder,
            alone=alone,
            group_sizes=list(GROUP_SIZES),
            revision=SCHEMA_REVISION,
        )
        if not rows:
            self.check_revision()
        return [
            Attempt(
                company=Company(
                    **_company(row),
                    idempotency_key=f"tracer-{row['batch_id']}-{step_name}-{row['id']}",
                ),
                step_name=step_name,
                batch_id=row["batch_id"],
                attempt=row["attempt"],
                lease_s=row["lease_s"],
                inputs={name: row[f"input {name}"] for name in inputs},
            )
            for row in rows
        ]

    def are_suspect(self, step_name: str, company_ids: Sequence[int]) -> bool:
        """Whether some of a call that began nothing wait for a worker that works nothing else."""
        asked = {"step": step_name, "company_ids": list(company_ids)}
        return bool(self.rows(queries.ARE_SUSPECT, **asked, group_sizes=list(GROUP_SIZES)))

    def release(self, step_name: str, company_ids: Sequence[int]) -> int:
        """Put what of a call is QUEUED back to PENDING, its attempt refunded; returns how many."""
        asked = {"step": step_name, "company_ids": list(company_ids)}
        return len(self.rows(queries.RELEASE, **asked))

    def release_begun(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """Put back to PENDING, forgiven, attempts for which the step was not called.

        Returns the step and the company of each attempt that was still the same.
        """
        if not attempts:
            return set()
        rows = self.rows(queries.RELEASE_BEGUN, **_row_arrays(attempts))
        return {(row["step_name"], row["company_id"]) for row in rows}

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """Renew the leases, of any steps; returns the step and the company of each attempt that is
        still the same."""
        if not attempts:
            return set()
        leases_s = [attempt.lease_s for attempt in attempts]
        rows = self.rows(queries.HEARTBEAT, **_row_arrays(attempts), leases_s=leases_s)
        return {(row["step_name"], row["company_id"]) for row in rows}

    def complete(
        self, attempts: Sequence[Attempt], results: Sequence[StepResult]
    ) -> set[tuple[str, int]]:
        """Write COMPLETED and results in one statement: for all of one step's `attempts`, or none.

        Returns the step and the company of each attempt that was won. A stale attempt wins and
        writes nothing.

        Raises:
            psycopg.Error: a result does not fit its table; nothing was written.
            ValueError: a result cannot be written as JSON, such as NaN.
        """
        if not attempts:
            return set()
        step_name = attempts[0].step_name
        documents = [
            {**masked_values(result.model_dump(mode="json")), "company_id": attempt.company.id}
            for attempt, result in zip(attempts, results, strict=True)
        ]
        statement = _complete_statement(type(results[0]))
        rows = json.dumps(documents, allow_nan=False)
        won = self.rows(statement, **_row_arrays(attempts), rows=rows)
        return {(step_name, row["company_id"]) for row in won}

    def fail(
        self, attempts: Sequence[Attempt], failures: Sequence[Failure]
    ) -> set[tuple[str, int]]:
        """Write why attempts of any steps have no result: fail, miss or skip, as each says.

        Returns the step and the company of each attempt that was won. A stale attempt wins and
        writes nothing.
        """
        if not attempts:
            return set()
        rows = self.rows(
            queries.FAIL,
            **_row_arrays(attempts),
            errors=[failure.error and storable_text(masked(failure.error)) for failure in failures],
            kinds=[None if failure.error is None else failure.kind for failure in failures],
            ends=[failure.ends for failure in failures],
            retry_after_s=[float(failure.retry_after_s) for failure in failures],
        )
        return {(row["step_name"], row["company_id"]) for row in rows}


def _company(row: Row) -> dict[str, Any]:
    """The company as its batch has it: the row of the batch's own file over what is known."""
    known = {name: row[name] for name in ("id", "key", "name", "domain", "attributes")}
    return known if row["own"] is None else known | own_row(row["own"], known)


def _row_arrays(attempts: Sequence[Attempt]) -> dict[str, str]:
    """The arrays of `held`, as Postgres writes them: psycopg takes 6 us for a row's four values.

    None of the values needs quotes: they are numbers and names of steps.
    """
    return {
        "company_ids": _array(a.company.id for a in attempts),
        "steps": _array(a.step_name for a in attempts),
        "batch_ids": _array(a.batch_id for a in attempts),
        "attempts": _array(a.attempt for a in attempts),
    }


def _array(values: Iterable[int | str]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


@cache
def _begin_statement(inputs: tuple[tuple[str, type[StepResult]], ...]) -> sql.Composed:
    parts: list[sql.Composable] = [sql.SQL(queries.BEGIN)]
    for name, table in inputs:
        described = table.__table__  # type: ignore[attr-defined]
        parts.append(
            sql.SQL(queries.INPUT).format(
                table=sql.Identifier(described.schema, described.name),
                name=sql.Identifier(f"input {name}"),
            )
        )
    return sql.Composed(parts)


@cache
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
