"""Prefect's REST API over httpx: the import of Prefect's own client takes a command 2 seconds."""

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx

from reconciler.contract.errors import BadInput, TracerError, Unreachable, WorkFailed
from reconciler.contract.settings import Settings
from reconciler.local.stack_file import read_stack

TIMEOUT = httpx.Timeout(10, connect=2)
BUSY_PAUSES_S = (0.1, 0.3, 1.0, 2.0)
NO_SERVER = "Set PREFECT_API_URL, or start one."
START = "tracer up"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server: the URLs of its API and its UI (None if it has no UI).

    `options` are httpx's, such as headers and certificates.
    """

    api_url: str
    ui_url: str | None
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    of_stack: bool = False  # a local stack's server: Prefect's own commands do not find it

    @property
    def printable_url(self) -> str:
        """The API's URL without user, password and query."""
        return without_secrets(self.api_url)


def without_secrets(url: str) -> str:
    """`url` without user, password and query."""
    try:
        return str(httpx.URL(url).copy_with(username=None, password=None, query=None))
    except httpx.InvalidURL:
        return "a URL that cannot be read"


def parse_moment(text: str | None) -> datetime | None:
    """The time that `text` has in ISO 8601, None for None."""
    return datetime.fromisoformat(text) if text else None


def find_server(settings: Settings) -> PrefectServer:
    """The server of PREFECT_API_URL, else of the running local stack, else of Prefect's profile.

    Raises:
        Unreachable: none of them names a server.
    """
    stack = None if os.environ.get("PREFECT_API_URL") else read_stack(settings.home)
    return replace(local_server(stack.api_url), of_stack=True) if stack else configured_server()


def local_server(api_url: str) -> PrefectServer:
    """A server on this machine; it is never reached through a proxy."""
    # It speaks plain HTTP: loading the certificates of all authorities would take 29 ms each time.
    options = {"trust_env": False, "verify": False}
    return PrefectServer(api_url, api_url.removesuffix("/api"), options)


def configured_server() -> PrefectServer:
    """The server that Prefect itself would use: of its environment variables, else of its profile.

    Raises:
        Unreachable: neither names a server.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # otherwise the import prints a notice
    from prefect.settings import Settings as PrefectSettings

    found = PrefectSettings()  # read anew: Prefect keeps what held when it was imported
    if not found.api.url:
        raise Unreachable(f"No Prefect server is known. {NO_SERVER}", START)
    headers, options = {}, dict[str, Any]()
    if httpx.URL(found.api.url).host in LOOPBACK:
        options["trust_env"] = False  # no proxy is needed
    if found.api.key:
        headers["Authorization"] = f"Bearer {found.api.key.get_secret_value()}"
    elif found.api.auth_string:
        options["auth"] = tuple(found.api.auth_string.get_secret_value().split(":", 1))
    if found.api.tls_insecure_skip_verify:
        options["verify"] = False
    elif found.api.ssl_cert_file:
        options["verify"] = ssl.create_default_context(cafile=found.api.ssl_cert_file)
    ui_url = without_secrets(found.ui_url) if found.ui_url else None
    return PrefectServer(found.api.url, ui_url, {**options, "headers": headers})


class Api:
    """Calls to one Prefect API."""

    def __init__(self, server: PrefectServer, client: httpx.Client) -> None:
        self.server = server
        self._client = client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API; returns the answer's JSON, None if the answer is empty.

        Raises:
            LookupError: the server answers 404, not found.
            Unreachable: there is no answer, or not one of a working Prefect server.
            WorkFailed: the server refuses the call; the message has the server's text.
        """
        answer = self._request(method, path, body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise LookupError(path)
        if answer.is_error:
            raise self._refusal(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            url = self.server.printable_url
            says = f"The server at {url} is not a Prefect server: check PREFECT_API_URL."
            raise Unreachable(says) from error

    def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        """Call again while the server is busy: with SQLite, it is busy when two clients write."""
        answer = self._client.request(method, path, json=body)
        for pause_s in BUSY_PAUSES_S:
            if answer.status_code not in (429, 503):
                break
            time.sleep(pause_s)
            answer = self._client.request(method, path, json=body)
        return answer

    def _refusal(self, answer: httpx.Response) -> TracerError:
        where = f"The Prefect server at {self.server.printable_url} answers {answer.status_code}"
        if answer.status_code in (401, 403):
            return Unreachable(f"{where}: check PREFECT_API_KEY or PREFECT_API_AUTH_STRING.")
        if answer.is_server_error:
            return Unreachable(f"{where}: read its log, or try again.")
        return WorkFailed(f"{where}: {answer.text[:300]}")


@contextmanager
def open_api(server: PrefectServer, timeout: httpx.Timeout = TIMEOUT) -> Iterator[Api]:
    """Open a connection to `server` for the block.

    Raises:
        Unreachable: the server does not answer within `timeout`. By default, that is 2 s for the
            connection and 10 s for an answer.
        BadInput: a proxy is set that cannot be used.
    """
    try:
        with _client(server, timeout) as client:
            yield Api(server, client)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        reason = type(error).__name__
        raise Unreachable(
            f"No Prefect server answers at {server.printable_url} ({reason}). {NO_SERVER}", START
        ) from error


def _client(server: PrefectServer, timeout: httpx.Timeout) -> httpx.Client:
    base_url = server.api_url.rstrip("/") + "/"
    try:
        return httpx.Client(base_url=base_url, timeout=timeout, **server.options)
    except (ImportError, ValueError) as error:  # httpx speaks to http proxies alone
        raise BadInput(
            "The proxy in ALL_PROXY, HTTPS_PROXY or HTTP_PROXY cannot be used to reach Prefect at "
            f"{server.printable_url}. Set one that begins with http://, or unset it."
        ) from error
