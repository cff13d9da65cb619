"""The reasons of rows that have ended."""

from collections.abc import Iterator
from shlex import quote

from reconciler.contract.states import BatchStatus
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import RowFacts
from reconciler.operator.diagnosis.rules import loop
from reconciler.operator.wording import operand, since


def failed(row: RowFacts) -> Iterator[Reason]:
    """The row FAILED; the fix is a retry, and a resume of the batch and the loop if paused."""
    says = f"{row.step} FAILED{_when(row)}, at {row.attempt_text}"
    error = f": {row.error}" if row.error else ""
    if row.batch_status == BatchStatus.CANCELLED:
        says += ", and its batch was cancelled: it cannot be retried"
        yield Reason(Code.FAILED, f"{says}{error}")
    if row.lost_order:
        yield _may_be_charged(row)
    if row.goes_on:
        yield from _goes_on(row, Code.FAILED, f"{says}{error}")
    fixes = [f"tracer retry --company={quote(row.key)} {operand(row.batch)}"]
    if row.batch_paused:
        fixes.append(f"tracer resume {operand(row.batch)}")
    if row.polling_paused:
        fixes.append(loop.RESUME_POLLING)
    yield Reason(Code.FAILED, f"{says}{error}", " && ".join(fixes))


def _may_be_charged(row: RowFacts) -> Reason:
    """A call was sent, and its answer is not known: a person says what it cost, or pays again."""
    sent = f" at {since(row.lost_at, row.now)}" if row.lost_at else ""
    says = (
        f"{row.step} FAILED{_when(row)}: its call was sent{sent} and may have been charged. If the "
        f"provider says which, `tracer orders settle {row.lost_order}` with --charged or "
        "--not-charged. To buy it again, and maybe pay twice"
    )
    fix = f"tracer retry --unknown --company={quote(row.key)} {operand(row.batch)}"
    return Reason(Code.MAY_BE_CHARGED, says, fix)


def cancelled(row: RowFacts) -> Iterator[Reason]:
    """An operator cancelled the row; nothing brings it back."""
    yield Reason(Code.CANCELLED, f"{row.step} was cancelled by an operator{_when(row)}")


def completed(row: RowFacts) -> Iterator[Reason]:
    """The step is done; the next tick advances the company to the next step, if there is one."""
    if row.last:
        says = f"All steps are done: {row.step}, the last one, was COMPLETED{_how(row)}"
        yield Reason(Code.ALL_STEPS_DONE, says)
    yield from _goes_on(row, Code.STEP_DONE, f"{row.step} was COMPLETED{_how(row)}")


def not_found(row: RowFacts) -> Iterator[Reason]:
    """The step found nothing about the company; the company goes on as if it had."""
    yield from _without_result(row, Code.NOT_FOUND, "found nothing about this company")


def skipped(row: RowFacts) -> Iterator[Reason]:
    """The step was skipped, because an input that it needs is missing; the company goes on."""
    yield from _without_result(row, Code.SKIPPED, "was skipped for this company")


def _without_result(row: RowFacts, code: Code, what: str) -> Iterator[Reason]:
    why = f": {row.error.rstrip('.')}" if row.error else ""
    if row.last:
        yield Reason(code, f"{row.step}, the last step, {what}{_when(row)}{why}")
    yield from _goes_on(row, code, f"{row.step} {what}{_when(row)}{why}")


def _goes_on(row: RowFacts, code: Code, says: str) -> Iterator[Reason]:
    """The next tick takes the company to the next step, unless something keeps it from that."""
    if row.batch_status == BatchStatus.CANCELLED:
        cancelled = f"{says}, and the batch was cancelled before the next step"
        yield Reason(Code.BATCH_CANCELLED, cancelled)
    yield from loop.halted(row)
    yield Reason(code, f"{says}; the next tick takes the company to {row.next_step}")


def _how(row: RowFacts) -> str:
    """When the row ended, and whose answer it has used, if it bought none."""
    if row.reused_at is None:
        return _when(row)
    whose = f"the batch {row.reused_from!r}" if row.reused_from else "a batch that is deleted"
    return f"{_when(row)}, with the answer that {whose} got at {since(row.reused_at, row.now)}"


def _when(row: RowFacts) -> str:
    return f" at {since(row.finished_at, row.now)}" if row.finished_at else ""
