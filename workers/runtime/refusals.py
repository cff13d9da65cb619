"""What an error of a step says about its provider: to wait, to do something, or that it fails."""

import sys
from collections.abc import Mapping
from dataclasses import replace

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.limits import Pause, PauseKind
from reconciler.contract.worker_store import Failure
from workers.answer import ASKED, ProviderRefused, retry_after_s
from workers.kit import RetryAfter, Step
from workers.noting import NotOurs

NEEDS_A_PERSON = (401, 402)  # a wrong key, no credits: no company would fare better
FAULTS = (403, 407, 408)  # and 5xx: one company's fault, or, many in a row, the provider's
UNASKED_S = 0.5  # how long a provider waits that has refused and does not say for how long


def about_provider(step: Step, error: BaseException, failure: Failure) -> Failure:
    """The failure, with what it says about the step's provider.

    An attempt that was only refused because the provider must wait costs none of the row's, nor one
    whose call was not sent: of a step that allows one attempt, too.
    """
    if isinstance(error, NotOurs):
        return replace(failure, kind=ErrorKind.RETRY_AFTER, retry_after_s=0.0)
    pause = pause_of(error, failure) if step.provider else None
    if pause is None or pause.kind is PauseKind.FAILING or failure.ends:
        return replace(failure, pause=pause)
    waits_s = failure.retry_after_s if isinstance(error, RetryAfter) else pause.wait_s
    return replace(failure, kind=ErrorKind.RETRY_AFTER, retry_after_s=waits_s, pause=pause)


def pause_of(error: BaseException, failure: Failure) -> Pause | None:
    """What the error says about the provider that was called, None if nothing.

    `failure` has the error's text, and a time that is a number, whatever a stranger has written.
    """
    if isinstance(error, RetryAfter):
        says = (failure.error or "").removeprefix("RetryAfter: ")
        return Pause(PauseKind.ASKED, says, failure.retry_after_s or UNASKED_S)
    status, headers = status_of(error)
    says = f"it answered {status}"
    if status in ASKED:
        wait_s = retry_after_s(headers.get("retry-after", "")) or UNASKED_S
        return Pause(PauseKind.ASKED, says, wait_s)
    if status in NEEDS_A_PERSON:
        return Pause(PauseKind.REFUSED, says)
    if status in FAULTS or status >= 500:
        return Pause(PauseKind.FAILING, f"{says}, again and again")
    if is_unreached(error):
        says = f"it did not answer, again and again ({type(error).__name__})"
        return Pause(PauseKind.FAILING, says)
    return None


def status_of(error: BaseException) -> tuple[int, Mapping[str, str]]:
    """The HTTP status, 0 if there is none, and the headers of an error of `paid`, of aiohttp, of
    httpx or of requests."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    headers = getattr(error, "headers", None) or getattr(response, "headers", None)
    if isinstance(error, ProviderRefused) or isinstance(status, int):
        lower = {str(k).lower(): str(v) for k, v in dict(headers or {}).items()}
        return int(status or 0), lower
    return 0, {}


def is_unreached(error: BaseException) -> bool:
    """Whether no answer has come: a time-out, or a connection that was refused or cut."""
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    # An error of a library that was never imported is none.
    kinds = (("aiohttp", "ClientConnectionError"), ("httpx", "TransportError"))
    return any(
        isinstance(error, getattr(sys.modules[module], name))
        for module, name in kinds
        if module in sys.modules
    )
