"""What a step function returned or raised, as the database keeps it. Nothing here writes."""

from pydantic import ValidationError

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from workers.kit import Company, PermanentError, RetryAfter, Step, StepResult

LONGEST_WAIT_S = 31_536_000.0  # a year


class TookTooLong(Exception):
    """The function has not returned within its time-out."""


class WrongKind(Exception):
    """The function returned something else than its table."""


def produce(step: Step, company: Company) -> StepResult:
    """The step's result, whose fields are as their types say: see `StepResult`.

    Raises:
        WrongKind: it returned something else.
        BaseException: whatever the function raises; a ValidationError where it gave its result
            values that do not fit.
    """
    result = step.function(company)
    if not isinstance(result, step.table):
        raise WrongKind(f"returned {type(result).__name__} instead of {step.table.__name__}")
    return result.revalidated()


def failure(error: BaseException) -> Failure:
    """Why there is no result."""
    match error:
        case PermanentError():
            return Failure(says(error), Status.FAILED, kind=ErrorKind.PERMANENT)
        case RetryAfter(seconds=seconds):
            return Failure(says(error), None, waitable(seconds), ErrorKind.RETRY_AFTER)
        case WrongKind():
            return Failure(str(error), Status.FAILED, kind=ErrorKind.WRONG_RESULT)
        case TookTooLong():
            return Failure(str(error), kind=ErrorKind.TIMED_OUT)
        case ValidationError():
            wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            text = f"{error.title} does not fit: {'; '.join(wrong)}"
            return Failure(text, kind=ErrorKind.WRONG_RESULT)
    return Failure(says(error))


def waitable(seconds: object) -> float:
    """Seconds that a row can wait for: what is no number, or none that makes sense, is no wait."""
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        return 0.0
    return float(min(seconds, LONGEST_WAIT_S))


def says(error: BaseException) -> str:
    """The kind of an error and its text, which may itself be out of order."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return kind
