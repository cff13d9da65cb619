"""The workers' verbs: begin, heartbeat, complete, fail, miss, skip; each fenced by its attempt."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reconciler.contract.attributes import own_row
from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.column_types import SCHEMA_REVISION, storable_text
from reconciler.contract.database import Connection, Database, Row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.fit import lacks, table_name, wanted_columns
from reconciler.contract.grants import WORKER
from reconciler.contract.holds import Hold, Unloaded
from reconciler.contract.limits import Pause
from reconciler.contract.orders import (
    Buying,
    KeptAnswer,
    Order,
    Receipt,
    answers_by_order,
    read_order,
    receipt_arrays,
)
from reconciler.contract.results import TRACERS, Company, StepResult
from reconciler.contract.secrets import masked_values, redacted
from reconciler.contract.sql import buying as orders
from reconciler.contract.sql import holds, limits
from reconciler.contract.sql import worker as queries
from reconciler.contract.states import Status
from reconciler.contract.worker_statements import begin_statement, complete_statement, row_arrays


@dataclass(frozen=True)
class Attempt:
    """One attempt at one company: `begin` returns it, and every later verb needs it.

    `lease_s` is the step's lease in seconds. It is held after `hold_after` companies in a row that
    fail alike. `order` is its right to pay, if the step has orders. `inputs` are the earlier
    results that it takes, each a row as JSON, or None where there is none.
    """

    company: Company
    step_name: str
    batch_id: int
    attempt: int
    lease_s: float
    hold_after: int = 0
    order: Order | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why an attempt has no result.

    `ends`: the status in which the row ends at once, FAILED, NOT_FOUND or SKIPPED. None: it failed,
    and the tick decides whether there is another attempt, in `retry_after_s` seconds at the
    earliest. Only NOT_FOUND needs no `error`; without one, there is no `kind` either.
    `cause`: the class of what was raised. Failures of one cause are alike. `pause`: what it says
    about the step's provider.

    Raises:
        ValueError: a row cannot end so, or the text is missing.
    """

    error: str | None
    ends: Status | None = None
    retry_after_s: float = 0.0
    kind: ErrorKind = ErrorKind.RAISED
    cause: str = ""
    pause: Pause | None = None

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
        buying: Buying | None = None,
    ) -> list[Attempt]:
        """Take those of `company_ids` that are QUEUED for the step; the others are not this call's.

        A call that arrives twice, or late, finds nothing QUEUED and gets an empty list. `call_id`
        is written here too: a dispatch that got no answer does not know it. `inputs` are the tables
        of which the step takes the company's row, by any names. Rows that were lost with a worker
        are taken only if this process works these `alone`: see `are_suspect`. `buying`: the step's
        attempts have orders.

        Raises:
            BadInput: the schema has another revision than this code: it was migrated since.
        """
        inputs = inputs or {}
        rows = self.rows(
            begin_statement(tuple(inputs.items()), has_orders=buying is not None),
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
        return [_attempt(step_name, row, inputs, buying or Buying()) for row in rows]

    def send(self, attempts: Sequence[Attempt]) -> dict[UUID, int]:
        """Note that the calls of these attempts' orders are about to be sent.

        Returns which call of its order each is, by the order's id. An order that is missing there
        is not the attempt's any more: its call must not be sent.
        """
        ids = ",".join(str(attempt.order.id) for attempt in attempts if attempt.order)
        values = {**row_arrays(attempts), "order_ids": f"{{{ids}}}"}
        return {row["id"]: row["tries"] for row in self.rows(orders.SEND, **values)}

    def receive(self, receipts: Sequence[Receipt]) -> None:
        """Keep what providers have answered, whatever has become of the attempts."""
        self.rows(orders.RECEIVE, **receipt_arrays(receipts))

    def new_times(self, provider: str, calls: int) -> list[float]:
        """New times for calls that were too late for theirs, in seconds from now: for all of them,
        or for as many as are claimed ahead."""
        asked = {"name": provider, "calls": calls}
        for row in self.rows(limits.NEW_TIMES, **asked):
            return [row["first_s"] + i * row["gap_s"] for i in range(row["calls"])]
        return [0.0] * calls

    def pause_provider(self, provider: str, pause: Pause) -> None:
        """Have no call of the provider sent or claimed for a while, and slow it if it asks so."""
        why = storable_text(redacted(pause.why))
        asked = {"name": provider, "kind": pause.kind, "wait_s": pause.wait_s, "why": why}
        self.rows(limits.PAUSE, **asked)

    def note_recovered(self, provider: str) -> None:
        """A call of a provider that was failing has gone well: all others may go out again."""
        self.rows(limits.RECOVERED, name=provider)

    def kept(self, order_ids: Sequence[UUID]) -> dict[UUID, list[KeptAnswer]]:
        """The answers that are kept for these orders, in the order of their requests."""
        return answers_by_order(self.rows(orders.KEPT, order_ids=list(order_ids)))

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

    def note_loaded(
        self, loaded: Iterable[str], unloaded: Sequence[Unloaded]
    ) -> dict[str, str | None]:
        """Hold the registered steps that cannot be loaded; let the others go on, if that held them.

        Returns the steps of which that changes something: why they are held, or None.
        """
        rows = self.rows(
            holds.LOADED,
            loaded=list(loaded),
            modules=[fault.module for fault in unloaded],
            steps=[fault.step for fault in unloaded],
            reasons=[storable_text(redacted(fault.says)) for fault in unloaded],
        )
        return {row["step_name"]: row["reason"] for row in rows}

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
        self,
        attempts: Sequence[Attempt],
        results: Sequence[StepResult],
        version: str | None = None,
    ) -> set[tuple[str, int]]:
        """Write COMPLETED and results in one statement: for all of one step's `attempts`, or none.

        Returns the step and the company of each attempt that was won. A stale attempt wins and
        writes nothing. `version` is that of the step's code. A result that takes the place of an
        older one leaves it in `results.superseded`; one whose fields are all None takes the place
        of no other result, and goes there itself.

        Raises:
            psycopg.Error: a result does not fit its table; nothing was written.
            ValueError: a result cannot be written as JSON, such as NaN.
        """
        if not attempts:
            return set()
        step_name = attempts[0].step_name
        documents = [
            {**masked_values(_own(result)), "company_id": attempt.company.id}
            for attempt, result in zip(attempts, results, strict=True)
        ]
        statement = complete_statement(type(results[0]))
        rows = json.dumps(documents, allow_nan=False)
        values = {**row_arrays(attempts), "rows": rows, "version": version}
        if not bought_by_result(attempts):
            won = self.rows(statement, **values)
            return {(step_name, row["company_id"]) for row in won}
        with self.transaction() as connection:
            keys = {(step_name, row["company_id"]) for row in connection.execute(statement, values)}
            _note_bought(connection, attempts, keys, found=True)
        return keys

    def fail(
        self, attempts: Sequence[Attempt], failures: Sequence[Failure]
    ) -> set[tuple[str, int]]:
        """Write why attempts of any steps have no result: fail, miss or skip, as each says.

        Returns the step and the company of each attempt that was won. A stale attempt wins and
        writes nothing.
        """
        if not attempts:
            return set()
        values = {
            **row_arrays(attempts),
            "errors": [
                failure.error and storable_text(redacted(failure.error)) for failure in failures
            ],
            "kinds": [None if failure.error is None else failure.kind for failure in failures],
            "ends": [failure.ends for failure in failures],
            "retry_after_s": [float(failure.retry_after_s) for failure in failures],
        }
        missed = [
            attempt
            for attempt, failure in zip(attempts, failures, strict=True)
            if failure.ends == Status.NOT_FOUND
        ]
        with self.transaction() if bought_by_result(missed) else self._alone() as connection:
            rows = connection.execute(queries.FAIL.encode(), values)
            keys = {(row["step_name"], row["company_id"]) for row in rows}
            _note_bought(connection, missed, keys, found=False)
        return keys


def bought_by_result(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that call without `paid`: what they come to says whether they have bought."""
    return [a for a in attempts if a.order and a.order.buying.by_result]


def _note_bought(
    connection: Connection,
    attempts: Sequence[Attempt],
    won: set[tuple[str, int]],
    *,
    found: bool,
) -> None:
    """Note that the orders of attempts which have just ended are answered."""
    ended = [a for a in bought_by_result(attempts) if (a.step_name, a.company.id) in won]
    if not ended:
        return
    costs = [found or not (a.order and a.order.buying.hits_only) for a in ended]
    values = {**row_arrays(ended), "founds": [found] * len(ended), "paid": costs}
    connection.execute(orders.BOUGHT.encode(), values)


def _attempt(step_name: str, row: Row, inputs: Iterable[str], buying: Buying) -> Attempt:
    """The attempt that a row of BEGIN is."""
    order = read_order(row["id"], found, buying) if (found := row.get("order")) else None
    key = str(order.id) if order else f"tracer-{row['batch_id']}-{step_name}-{row['id']}"
    return Attempt(
        company=Company(**_company(row), idempotency_key=key),
        step_name=step_name,
        batch_id=row["batch_id"],
        attempt=row["attempt"],
        lease_s=row["lease_s"],
        hold_after=row["hold_after"],
        order=order,
        inputs={name: row[f"input {name}"] for name in inputs},
    )


def _own(result: StepResult) -> dict[str, Any]:
    """What the step has filled, as JSON has it."""
    return result.model_dump(mode="json", exclude=set(TRACERS))


def _company(row: Row) -> dict[str, Any]:
    """The company as its batch has it: the row of the batch's own file over what is known."""
    known = {name: row[name] for name in ("id", "key", "name", "domain", "attributes")}
    return known if row["own"] is None else known | own_row(row["own"], known)
