"""What a step function returned or raised, as the database keeps it. Nothing here writes."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.holds import Hold, HoldKind
from reconciler.contract.outage import first_line
from reconciler.contract.results import StepResult, own_fields, stored_result
from reconciler.contract.secrets import MissingSecret, masked
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Attempt, Failure
from workers.kit import NotFound, PermanentError, RetryAfter, Step
from workers.noting import NothingKept, NotOurs
from workers.runtime.error_text import plain
from workers.runtime.refusals import about_provider

LONGEST_WAIT_S = 31_536_000.0  # a year
LONGEST_VALUE = 80  # characters of a value that an error shows
# What an attempt came to; with a Hold, it has not: the step cannot be worked for any company.
Outcome = StepResult | Failure | Hold
OF_ENVIRONMENT = type(os.environ).__getitem__.__code__
UNREGISTERED = (
    "{step} pays, and the registry does not know that: its price or provider is new in its code"
)
NOTHING = Failure(None, ends=Status.NOT_FOUND)


class TookTooLong(TimeoutError):
    """The function has not returned within its time-out."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"took longer than {step.timeout_s:g} s")


class WasStopped(Exception):
    """The worker was told to end, and has waited for the function long enough."""

    def __init__(self) -> None:
        super().__init__("its worker was told to end before the step was done")


class StrangeIds(Exception):
    """A bulk step has returned results by ids that it was not given, and lacks some that it was."""

    def __init__(self, ids: Sequence[object]) -> None:
        shown = ", ".join(ascii(one)[:40] for one in ids[:3])
        super().__init__(f"returned ids that it was not given: {shown}")


class WrongKind(Exception):
    """The function returned something else than its table."""

    def __init__(self, found: object, wanted: str) -> None:
        super().__init__(f"returned {type(found).__name__} instead of {wanted}")


def outcomes(step: Step, attempts: Sequence[Attempt], found: Any) -> list[Outcome]:
    """What one call of the function came to, for each of its attempts; `found` is what it returned
    or raised.

    A bulk step returns what it found by company id; what is missing there was not found, unless
    there are ids that it was not given, such as domains: then it has mistaken them.
    """
    if not step.bulk or isinstance(found, BaseException):
        return [outcome(step, found)] * len(attempts)
    if not isinstance(found, dict):
        return [failure(WrongKind(found, f"a dict of {step.table.__name__}"))] * len(attempts)
    given = [attempt.company.id for attempt in attempts]
    asked = set(given)
    strange = [key for key in dict.keys(found) if key not in asked]
    missing = failure(StrangeIds(strange)) if strange else NOTHING
    return [outcome(step, dict.get(found, i)) if i in found else missing for i in given]


def outcome(step: Step, found: Any) -> Outcome:
    """The outcome for one company, whose result's fields are as their types say."""
    if found is None:
        return NOTHING
    if isinstance(found, ValidationError) and found.title == step.table.__name__:
        return does_not_fit(found)
    if isinstance(found, BaseException):
        return missing_secret(found) or about_provider(step, found, failure(found))
    if not isinstance(found, step.table):
        return failure(WrongKind(found, step.table.__name__))
    try:
        return found.revalidated()
    except ValidationError as error:
        return does_not_fit(error)
    except Exception as error:  # noqa: BLE001 - a stranger's validators
        return failure(error)


def does_not_fit(error: ValidationError) -> Failure:
    """The failure of a result that its own class refuses: one more attempt would pay again."""
    found = Failure(misfit(error), ends=Status.FAILED, kind=ErrorKind.WRONG_RESULT)
    return replace(found, cause=type(error).__name__)


def not_written(result: StepResult, error: Exception) -> Failure:
    """The failure of a result that its table refuses; the error has the values, shortened."""
    values = (f"{name}={shown(getattr(result, name))}" for name in own_fields(type(result)))
    text = f"result not written: {reason(error)} ({', '.join(values)})"
    found = Failure(text, ends=Status.FAILED, kind=ErrorKind.NOT_WRITTEN)
    return replace(found, cause=type(error).__name__)


def shown(value: object) -> str:
    """A value for an error: without secrets, and short."""
    try:
        text = masked(repr(value))
    except BaseException:  # noqa: BLE001 - a stranger's __repr__, which may even exit
        return type(value).__name__
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def reason(error: BaseException) -> str:
    """The first line of an error's text, which may itself be out of order."""
    try:
        return first_line(error)
    except BaseException:  # noqa: BLE001 - a stranger's __str__, which may even exit
        return type(error).__name__


def missing_secret(error: BaseException) -> Hold | None:
    """The hold of a step that has asked for a secret, or an environment variable, that is not set.

    Nothing is wrong with the company, and the next would fare alike.
    """
    if isinstance(error, MissingSecret):
        return Hold(HoldKind.SECRET, str(error))
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if not isinstance(error, KeyError) or not trace or trace.tb_frame.f_code is not OF_ENVIRONMENT:
        return None
    name = str(error.args[0])
    says = f"{name} is not in the environment of the workers: set it there, or let the step read "
    return Hold(HoldKind.SECRET, f"{says}it with company.secret({name!r}), which reads .env too")


def failure(error: BaseException) -> Failure:
    """Why there is no result."""
    return replace(_failure(error), cause=type(error).__name__)


def _failure(error: BaseException) -> Failure:
    match error:
        case NotFound():
            text = says(error).removeprefix("NotFound").removeprefix(": ") or None
            return Failure(text, ends=Status.NOT_FOUND, kind=ErrorKind.NOT_FOUND)
        case PermanentError() | NothingKept():
            return Failure(says(error), ends=Status.FAILED, kind=ErrorKind.PERMANENT)
        case RetryAfter(seconds=seconds):
            wait_s = waitable(seconds)
            return Failure(says(error), retry_after_s=wait_s, kind=ErrorKind.RETRY_AFTER)
        case WrongKind() | StrangeIds():
            return Failure(str(error), ends=Status.FAILED, kind=ErrorKind.WRONG_RESULT)
        case TookTooLong():
            return Failure(str(error), kind=ErrorKind.TIMED_OUT)
        case WasStopped() | NotOurs():
            return Failure(str(error), kind=ErrorKind.STOPPED)
        case ValidationError():
            return Failure(misfit(error), kind=ErrorKind.WRONG_RESULT)
    return Failure(says(error))


def taken(step: Step, attempt: Attempt) -> dict[str, StepResult | None] | Failure | Hold:
    """The earlier results that the step takes; a Failure where it cannot be called without one."""
    if step.signature.paid and not attempt.order:
        return Hold(HoldKind.TABLE, UNREGISTERED.format(step=step.name))
    found: dict[str, StepResult | None] = {}
    for wanted in step.inputs:
        row = attempt.inputs[wanted.parameter]
        if row is None and wanted.needed:
            text = f"there is no row of {wanted.table.__tablename__}, which it needs"
            return Failure(text, ends=Status.SKIPPED, kind=ErrorKind.INPUT_MISSING)
        try:
            found[wanted.parameter] = None if row is None else stored_result(wanted.table, row)
        except Exception as error:  # noqa: BLE001 - a stranger's types
            why = misfit(error) if isinstance(error, ValidationError) else says(error)
            text = f"its input cannot be read: {why}"
            return Failure(text, ends=Status.FAILED, kind=ErrorKind.WRONG_RESULT)
    return found


def misfit(error: ValidationError) -> str:
    """Which fields of a row do not fit, and why."""
    wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_given(e)}" for e in error.errors())
    return f"{error.title} does not fit: {'; '.join(wrong)}"


def _given(wrong: Any) -> str:
    """The value that does not fit; of a field that is missing there is none."""
    return "" if wrong["type"] == "missing" else f" (it is {shown(wrong['input'])})"


def waitable(seconds: object) -> float:
    """Seconds that a row can wait for: what is no number, or none that makes sense, is no wait."""
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        return 0.0
    return float(min(seconds, LONGEST_WAIT_S))


def says(error: BaseException) -> str:
    """The kind of an error and its text, which may itself be out of order."""
    kind = type(error).__name__
    try:
        return f"{kind}: {plain(error)}"
    except BaseException:  # noqa: BLE001 - a stranger's __str__, which may even exit
        return kind
