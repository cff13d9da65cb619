"""The reasons that a step is not worked."""

from collections.abc import Iterator

from reconciler.contract.errors import GRANT
from reconciler.contract.holds import HoldKind
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import StepFacts

SYNC = "tracer steps sync"
RESUME = "tracer steps resume {step}"
HELD_FIXES = {
    HoldKind.TABLE: SYNC,
    HoldKind.GRANT: f"{GRANT} && {RESUME}",
    HoldKind.SECRET: RESUME,
    HoldKind.FAILURES: RESUME,
    HoldKind.IMPORT: SYNC,
}
DEFAULT_CAPACITY = 1000  # the registry's default


def switched_off(step: StepFacts) -> Iterator[Reason]:
    """The step is not registered, is disabled or held: no claim takes its rows."""
    if step.enabled is None:
        yield Reason(Code.STEP_NOT_REGISTERED, f"The step {step.step} is not registered", SYNC)
    if step.enabled is False:
        fix = f"tracer steps set {step.step} enabled=true"
        yield Reason(Code.STEP_DISABLED, f"The step {step.step} is disabled", fix)
    if step.hold_kind:
        yield held(step.step, step.hold_kind, step.hold_reason or "")


def held(step: str, kind: str, why: str) -> Reason:
    """The step is at fault for every company, so that nothing of it is claimed."""
    says = f"The step {step} is held: {why.rstrip('.')}"
    return Reason(Code.STEP_HELD, says, HELD_FIXES[HoldKind(kind)].format(step=step))


def unworked(step: StepFacts, batches: int, here: set[str] | None) -> Iterator[Reason]:
    """Why `batches` running batches wait for the step.

    `here` are the steps whose code is here; None if the workers are not local.
    """
    needed = f"{'a running batch needs' if batches == 1 else f'{batches} running batches need'} it"
    for reason in switched_off(step):
        yield Reason(reason.code, f"{reason.says}, and {needed}", reason.fix)
    if not step.max_in_flight:
        reason = capacity_zero(step.step, more_in_flight(step.step, DEFAULT_CAPACITY))
        yield Reason(reason.code, f"{reason.says}, and {needed}", reason.fix)
    if here is not None and step.step not in here:
        says = f"No package that TRACER_STEPS names has the step {step.step}, and {needed}"
        yield Reason(Code.STEP_CODE_MISSING, says, None)


def unregistered(steps: list[str]) -> Reason:
    """These steps have code here, and are not registered."""
    return Reason(Code.STEP_NOT_REGISTERED, f"Not registered: {', '.join(steps)}", SYNC)


def capacity_zero(step: str, fix: str | None) -> Reason:
    """The step's `max_in_flight` is 0."""
    return Reason(Code.CAPACITY_ZERO, f"The capacity of {step} is set to 0", fix)


def more_in_flight(step: str, rows: int) -> str:
    """The command that sets the step's capacity."""
    return f"tracer steps set {step} max_in_flight={rows}"
