"""The workers' verbs: begin, heartbeat, complete, fail, miss, skip; each fenced by its attempt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.contract.attributes import own_row
from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.column_types import SCHEMA_REVISION, storable_text
from reconciler.contract.database import Database, Row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.fit import lacks, table_name, wanted_columns
from reconciler.contract.grants import WORKER
from reconciler.contract.holds import Hold
from reconciler.contract.results import Company, StepResult
from reconciler.contract.secrets import masked_values, redacted
from reconciler.contract.sql import holds
from reconciler.contract.sql import worker as queries
from reconciler.contract.states import Status
from reconciler.contract.worker_statements import begin_statement, complete_statement, row_arrays


@dataclass(frozen=True)
class Attempt:
    """One attempt at one company: `begin` returns it, and every later verb needs it.

    `lease_s` is the step's lease in seconds. It is held after `hold_after` companies in a row that
    fail alike. `inputs` are the earlier results that it takes, each a row as JSON, or None where
    there is none.
    """

    company: Company
    step_name: str
    batch_id: int
    attempt: int
    lease_s: float
    hold_after: int = 0
    inputs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why an attempt has no result.

    `ends`: the status in which the row ends at once, FAILED, NOT_FOUND or SKIPPED. None: it failed,
    and the tick decides whether there is another attempt, in `retry_after_s` seconds at the
    earliest. Only NOT_FOUND needs no `error`; without one, there is no `kind` either.
    `cause`: the class of what was raised. Failures of one cause are alike.

    Raises:
        ValueError: a row cannot end so, or the text is missing.
    """

    error: str | None
    ends: Status | None = None
    retry_after_s: float = 0.0
    kind: ErrorKind = ErrorKind.RAISED
    cause: str = ""

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
            begin_statement(tuple(inputs.items())),
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
                hold_after=row["hold_after"],
                inputs={name: row[f"input {name}"] for name in inputs},
            )
            for row in rows
        ]

    def are_suspect(self, step_name: str, company_ids: Sequence[int]) -> bool:
        """Whether some of a call that began nothing wait for a worker that works nothing else."""
        asked = {"step": step_name, "company_ids": list(company_ids)}
        return bool(self.rows(queries.ARE_SUSPECT, **asked, group_sizes=list(GROUP_SIZES)))

    def lacks(self, table: type[StepResult], inputs: Sequence[type[StepResult]] = ()) -> str | None:
        """What of a step's table differs from its class, or which table of its `inputs` is missing.

        None if the step can be worked.
        """
        for wanted in (table, *inputs):
            columns = wanted_columns(wanted)
            if wanted is not table:  # a row is read as it is, whatever columns it has
                columns = {"company_id": columns["company_id"]}
            rows = self.rows(
                holds.COLUMNS,
                table=table_name(wanted),
                names=list(columns),
                types=list(columns.values()),
            )
            if fault := lacks(wanted, rows, whole=wanted is table):
                return fault
        return None

    def hold(self, step_name: str, hold: Hold) -> bool:
        """Have no more of the step claimed or begun; False if it is held already."""
        asked = {"step": step_name, "kind": hold.kind}
        return bool(self.rows(holds.HOLD, **asked, reason=storable_text(redacted(hold.reason))))

    def is_held(self, step_name: str) -> bool:
        """Whether nothing of the step is begun."""
        return bool(self.rows(holds.IS_HELD, step=step_name))

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
        rows = self.rows(queries.RELEASE_BEGUN, **row_arrays(attempts))
        return {(row["step_name"], row["company_id"]) for row in rows}

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]:
        """Renew the leases, of any steps; returns the step and the company of each attempt that is
        still the same."""
        if not attempts:
            return set()
        leases_s = [attempt.lease_s for attempt in attempts]
        rows = self.rows(queries.HEARTBEAT, **row_arrays(attempts), leases_s=leases_s)
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
        statement = complete_statement(type(results[0]))
        rows = json.dumps(documents, allow_nan=False)
        won = self.rows(statement, **row_arrays(attempts), rows=rows)
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
            **row_arrays(attempts),
            errors=[
                failure.error and storable_text(redacted(failure.error)) for failure in failures
            ],
            kinds=[None if failure.error is None else failure.kind for failure in failures],
            ends=[failure.ends for failure in failures],
            retry_after_s=[float(failure.retry_after_s) for failure in failures],
        )
        return {(row["step_name"], row["company_id"]) for row in rows}


def _company(row: Row) -> dict[str, Any]:
    """The company as its batch has it: the row of the batch's own file over what is known."""
    known = {name: row[name] for name in ("id", "key", "name", "domain", "attributes")}
    return known if row["own"] is None else known | own_row(row["own"], known)
