"""Prefect's REST API over httpx: importing Prefect's own client costs a command 2 seconds."""

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx

from reconciler.contract.errors import TracerError, Unreachable, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.local.stack_file import read_stack

TIMEOUT = httpx.Timeout(10, connect=2)
BUSY_PAUSES_S = (0.1, 0.3, 1.0, 2.0)
NO_SERVER = "Set PREFECT_API_URL, or start one."
START = "tracer up"


@dataclass(frozen=True)
class Place:
    """Where a Prefect API is and how to speak to it; `ui_url` is None where it has no pages."""

    api_url: str
    ui_url: str | None
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    of_stack: bool = False  # Prefect's own commands do not know of a local stack's server

    @property
    def shown(self) -> str:
        """The address without what must not be shown."""
        return shown(self.api_url)


def shown(url: str) -> str:
    """`url` without user, password and query."""
    try:
        return str(httpx.URL(url).copy_with(username=None, password=None, query=None))
    except httpx.InvalidURL:
        return "an address that cannot be read"


def moment(text: str | None) -> datetime | None:
    """A moment from its ISO 8601 form."""
    return datetime.fromisoformat(text) if text else None


def find_place(settings: Settings) -> Place:
    """PREFECT_API_URL, else the local stack that is running, else Prefect's active profile.

    Raises:
        Unreachable: none of them names a server.
    """
    stack = None if os.environ.get("PREFECT_API_URL") else read_stack(settings.home)
    return replace(local_place(stack.api_url), of_stack=True) if stack else configured_place()


def local_place(api_url: str) -> Place:
    """A server of this machine, never by way of a proxy."""
    return Place(api_url, api_url.removesuffix("/api"), {"trust_env": False})


def configured_place() -> Place:
    """What Prefect itself would use: its environment variables over its active profile.

    Raises:
        Unreachable: neither names a server.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # or the import prints a notice about it
    from prefect.settings import get_current_settings

    found = get_current_settings()
    if not found.api.url:
        raise Unreachable(f"No Prefect server is known. {NO_SERVER}", START)
    headers, options = {}, dict[str, Any]()
    if found.api.key:
        headers["Authorization"] = f"Bearer {found.api.key.get_secret_value()}"
    elif found.api.auth_string:
        options["auth"] = tuple(found.api.auth_string.get_secret_value().split(":", 1))
    if found.api.tls_insecure_skip_verify:
        options["verify"] = False
    elif found.api.ssl_cert_file:
        options["verify"] = ssl.create_default_context(cafile=found.api.ssl_cert_file)
    ui_url = shown(found.ui_url) if found.ui_url else None
    return Place(found.api.url, ui_url, {**options, "headers": headers})


class Api:
    """Calls to one Prefect API."""

    def __init__(self, place: Place, client: httpx.Client) -> None:
        self.place = place
        self._client = client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None where there is none.

        Raises:
            LookupError: the server knows no such thing (404).
            Unreachable: no answer, or none that can be used.
            WorkFailed: the server refuses the call; the message has its words.
        """
        answer = self._request(method, path, body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise LookupError(path)
        if answer.is_error:
            raise self._refusal(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            words = (
                f"What answers at {self.place.shown} is no Prefect server: check PREFECT_API_URL."
            )
            raise Unreachable(words) from error

    def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        """Ask again while the server is busy: with SQLite it is, whenever two write at once."""
        answer = self._client.request(method, path, json=body)
        for pause_s in BUSY_PAUSES_S:
            if answer.status_code not in (429, 503):
                break
            time.sleep(pause_s)
            answer = self._client.request(method, path, json=body)
        return answer

    def _refusal(self, answer: httpx.Response) -> TracerError:
        where = f"The Prefect server at {self.place.shown} answers {answer.status_code}"
        if answer.status_code in (401, 403):
            return Unreachable(f"{where}: check PREFECT_API_KEY or PREFECT_API_AUTH_STRING.")
        if answer.is_server_error:
            return Unreachable(f"{where}: look at its log, or try again.")
        return WorkFailed(f"{where}: {answer.text[:300]}")


@contextmanager
def speak(place: Place, timeout: httpx.Timeout = TIMEOUT) -> Iterator[Api]:
    """An open connection to `place`.

    Raises:
        Unreachable: nothing answers there within `timeout`: by default after 2 s when nothing
            accepts, 10 s when it is silent.
    """
    try:
        base_url = place.api_url.rstrip("/") + "/"
        with httpx.Client(base_url=base_url, timeout=timeout, **place.options) as client:
            yield Api(place, client)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        reason = type(error).__name__
        raise Unreachable(
            f"No Prefect server answers at {place.shown} ({reason}). {NO_SERVER}", START
        ) from error
