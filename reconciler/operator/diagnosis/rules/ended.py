"""Why a row that has ended is where it is."""

from collections.abc import Iterator
from shlex import quote

from reconciler.contract.states import BatchStatus
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import RowFacts
from reconciler.operator.diagnosis.rules import loop
from reconciler.operator.wording import operand, since


def failed(row: RowFacts) -> Iterator[Reason]:
    """A retry gives it new attempts, if the batch and the loop go on."""
    says = f"{row.step} FAILED{_when(row)}, at {row.attempt_of}"
    error = f": {row.error}" if row.error else ""
    if row.batch_status == BatchStatus.CANCELLED:
        says += ", and the batch was cancelled, so that it stays so"
        yield Reason(Code.FAILED, f"{says}{error}")
    fixes = [f"tracer retry --company={quote(row.key)} {operand(row.batch)}"]
    if row.batch_paused:
        fixes.append(f"tracer resume {operand(row.batch)}")
    if row.polling_paused:
        fixes.append(loop.RESUME_POLLING)
    yield Reason(Code.FAILED, f"{says}{error}", " && ".join(fixes))


def cancelled(row: RowFacts) -> Iterator[Reason]:
    """There is no way back."""
    yield Reason(Code.CANCELLED, f"{row.step} was cancelled by an operator{_when(row)}")


def completed(row: RowFacts) -> Iterator[Reason]:
    """The next tick advances it, if there is a step after it."""
    step, when = row.step, _when(row)
    if row.last:
        says = f"All steps are done: {step}, the last one, was COMPLETED{when}"
        yield Reason(Code.ALL_STEPS_DONE, says)
    if row.batch_status == BatchStatus.CANCELLED:
        says = f"{step} was COMPLETED{when}, and the batch was cancelled before the next step"
        yield Reason(Code.BATCH_CANCELLED, says)
    yield from loop.halted(row)
    says = f"{step} was COMPLETED{when}; the next tick takes it to the step after"
    yield Reason(Code.STEP_DONE, says)


def _when(row: RowFacts) -> str:
    return f" at {since(row.finished_at, row.now)}" if row.finished_at else ""
