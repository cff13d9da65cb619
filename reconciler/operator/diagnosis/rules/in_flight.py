"""The reasons of rows in flight: the worker has not begun, is working, or is gone."""

from collections.abc import Iterator

from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.states import Status
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import RowFacts
from reconciler.operator.diagnosis.rules import loop, provider, step
from reconciler.operator.wording import since, until


def queued(row: RowFacts) -> Iterator[Reason]:
    """The row is QUEUED: no worker has begun it."""
    yield from _lease_over(row)
    yield from (reason for reason in step.switched_off(row) if row.enabled is None)
    seen, says = row.observed, "Claimed, and not begun"
    if gone := _host_gone(row):
        lost = f"{says}: its call was lost with the worker host, and {_next_attempt(row)}. {gone}"
        yield Reason(Code.WORKER_HOST_GONE, lost, seen.workers_fix)
    if fault := seen.workers_fault:
        lease = f"The lease of {row.attempt_text} runs until {_lease(row)}"
        yield Reason(fault.code, f"{says}. {fault.says}. {lease}", fault.fix)
    if not row.not_spawned:
        yield from provider.call_planned(row)
    code = Code.SPAWN_UNANSWERED if row.not_spawned else Code.CLAIMED
    error = f": {row.error}" if row.error else ""
    yield Reason(code, f"{says}: {_call(row)} has until {_lease(row)} to begin {row.step}{error}")


def running(row: RowFacts) -> Iterator[Reason]:
    """The row is IN_PROGRESS: its worker is working, silent, or gone."""
    yield from _lease_over(row)
    begun = since(row.started_at, row.now) if row.started_at else ""
    began = f" at {begun}" if begun else ""
    gone, fix = _host_gone(row), row.observed.workers_fix
    if silent_since := row.worker_silent_since:
        silent = f"its worker has been silent since {since(silent_since, row.now)}"
        says = f"{row.step} was begun{began}, and {silent}: {_next_attempt(row)}"
        where = f". {gone}" if gone else ""
        yield Reason(Code.WORKER_SILENT, f"{says}{where}", fix if gone else None)
    if gone:
        says = f"{row.step} was begun{began} by a worker host that is gone"
        yield Reason(Code.WORKER_HOST_GONE, f"{says}: {_next_attempt(row)}. {gone}", fix)
    yield from provider.call_planned(row)
    says = f"{row.step} is running{begun and f' since {begun}'} on {_call(row)}: {row.attempt_text}"
    yield Reason(Code.RUNNING, f"{says}, and its lease runs until {_lease(row)}")


def _lease_over(row: RowFacts) -> Iterator[Reason]:
    """The lease has ended: the next tick decides whether the row gets another attempt."""
    if row.lease_over:
        yield from loop.halted(row)
        says = f"{row.attempt_text.capitalize()} of {row.step} is over: "
        says += row.error or "no worker has renewed its lease"
        yield Reason(Code.LEASE_OVER, f"{says}; the next tick decides whether there is another")


def _host_gone(row: RowFacts) -> str | None:
    """Evidence that the local host which took this row is gone, else None.

    A row with a call id was sent to Modal, and no local host has it.
    """
    seen, taken = row.observed, row.started_at or row.queued_at
    if seen.workers != "local" or row.call_id:
        return None
    if seen.workers_fault and seen.host_gone:
        return seen.workers_fault.says
    if seen.host_since and taken and seen.host_since > taken:
        return f"The worker host here was started at {since(seen.host_since, row.now)}"
    return None


def _next_attempt(row: RowFacts) -> str:
    """What the tick after the lease does with an attempt that has no worker."""
    most = row.max_attempts or 0
    shared = row.losses < len(GROUP_SIZES) and most > 1 and row.status == Status.IN_PROGRESS
    left = row.tries < most or shared
    then = "takes it up again" if left else f"ends it as FAILED, after {row.attempt_text}"
    return f"the tick after {_lease(row)} {then}"


def _call(row: RowFacts) -> str:
    return f"call {row.call_id}" if row.call_id else "a worker"


def _lease(row: RowFacts) -> str:
    return until(row.lease_expires_at, row.now) if row.lease_expires_at else "?"
