"""What Modal's client raises if Modal does not answer, or refuses."""

import logging
from traceback import walk_tb

import grpclib
import modal
from grpclib.exceptions import StreamTerminatedError

from reconciler.contract.errors import BadInput

# The errors that it is known to raise.
FAULTS = (
    modal.exception.Error,
    grpclib.GRPCError,
    StreamTerminatedError,
    OSError,
    TimeoutError,
)
UNREAD = "exception was never retrieved"  # asyncio's words, of a task or a future


class NoToken(BadInput):
    """Nothing here says as whom to speak to Modal."""

    def __init__(self) -> None:
        super().__init__(
            "There is no Modal token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or make one",
            "modal token new",
        )


def has_token() -> bool:
    """Whether Modal's client is configured to speak to Modal as somebody."""
    known = modal.config.config
    token = known.get("token_id") and known.get("token_secret")
    return bool(token or known.get("oauth_refresh_token"))


def error_line(error: BaseException) -> str:
    """The error's class and the first line of its text."""
    if isinstance(error, modal.exception.AuthError) and not has_token():
        return NoToken().says
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def is_news(record: logging.LogRecord) -> bool:
    """Whether asyncio's record says more than that a connect has failed after nobody waited for it.

    Modal's client connects in a task that goes on for a minute after its caller has given up. Its
    fault is read by nobody then, and asyncio logs it with a traceback. The caller has raised its
    own time-out already.
    """
    error = record.exc_info[1] if record.exc_info else None
    if UNREAD not in record.getMessage() or not isinstance(error, FAULTS):
        return True
    places = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return not any(place.partition(".")[0] == "modal" for place in places)


# The client has an event loop of its own, whose exception handler only it can set.
logging.getLogger("asyncio").addFilter(is_news)
