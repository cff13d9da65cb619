"""Asks Modal about this account: whether it accepts the token, and which functions it has."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import modal
import modal.experimental

from reconciler.contract.errors import DEPLOY_WORKERS, TracerError, Unreachable, WorkFailed
from reconciler.spawners.modal_faults import FAULTS, NoToken, error_line, has_token

T = TypeVar("T")


class NotDeployed(WorkFailed):
    """Modal has no app of that name."""


def check_account(timeout_s: float) -> str:
    """Send a hello to Modal; returns the URL that answered.

    Raises:
        Unreachable: Modal does not answer within `timeout_s` seconds.
        WorkFailed: Modal does not accept the token.
        NoToken: there is none.
    """
    _bounded(_hello(), timeout_s)
    return server_url()


def deployed_functions(app_name: str, timeout_s: float) -> set[str]:
    """The names of the functions of a deployed app.

    Raises:
        Unreachable, WorkFailed, NoToken: as `check_account`.
        NotDeployed: there is no such app.
    """
    lookup = modal.experimental.get_app_objects.aio(app_name)
    try:
        return set(_bounded(lookup, timeout_s))
    except modal.exception.NotFoundError as error:
        raise NotDeployed(f"The app {app_name!r} is not deployed.", DEPLOY_WORKERS) from error


def is_deployed(app_name: str, function: str, timeout_s: float) -> bool | None:
    """Whether Modal has the function; None if Modal gives no answer."""
    try:
        return function in deployed_functions(app_name, timeout_s)
    except NotDeployed:
        return False
    except TracerError:
        return None


def server_url() -> str:
    """Modal's URL, as its client is configured."""
    return str(modal.config.config.get("server_url"))


async def _hello() -> None:
    client = await modal.Client.from_env.aio()
    await client.hello.aio()  # type: ignore[no-untyped-call]


def _bounded(request: Coroutine[Any, Any, T], timeout_s: float) -> T:
    async def wait() -> T:
        async with asyncio.timeout(timeout_s):
            return await request

    try:
        return asyncio.run(wait())
    except modal.exception.NotFoundError:
        raise
    except (modal.exception.AuthError, modal.exception.PermissionDeniedError) as error:
        if not has_token():
            raise NoToken from error
        raise WorkFailed(
            f"Modal does not accept the token ({error_line(error)}). Set MODAL_TOKEN_ID and "
            "MODAL_TOKEN_SECRET, or make one.",
            "modal token new",
        ) from error
    except FAULTS as error:
        raise Unreachable(
            f"Modal does not answer at {server_url()} ({error_line(error)}): "
            "check the network and MODAL_SERVER_URL."
        ) from error
