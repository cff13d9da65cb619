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
    fixes = [f"tracer retry --company={quote(row.key)} {operand(row.batch)}"]
    if row.batch_paused:
        fixes.append(f"tracer resume {operand(row.batch)}")
    if row.polling_paused:
        fixes.append(loop.RESUME_POLLING)
    yield Reason(Code.FAILED, f"{says}{error}", " && ".join(fixes))


def cancelled(row: RowFacts) -> Iterator[Reason]:
    """An operator cancelled the row; nothing brings it back."""
    yield Reason(Code.CANCELLED, f"{row.step} was cancelled by an operator{_when(row)}")


def completed(row: RowFacts) -> Iterator[Reason]:
    """The step is done; the next tick advances the company to the next step, if there is one."""
    step, when = row.step, _when(row)
    if row.last:
        says = f"All steps are done: {step}, the last one, was COMPLETED{when}"
        yield Reason(Code.ALL_STEPS_DONE, says)
    if row.batch_status == BatchStatus.CANCELLED:
        says = f"{step} was COMPLETED{when}, and the batch was cancelled before the next step"
        yield Reason(Code.BATCH_CANCELLED, says)
    yield from loop.halted(row)
    says = f"{step} was COMPLETED{when}; the next tick takes the company to the next step"
    yield Reason(Code.STEP_DONE, says)


def _when(row: RowFacts) -> str:
    return f" at {since(row.finished_at, row.now)}" if row.finished_at else ""
