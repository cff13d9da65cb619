"""What providers answer, and how their requests are kept and sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from reconciler.contract.secrets import masked, masked_values, redacted
from workers.raised import RetryAfter

if TYPE_CHECKING:
    import aiohttp

# What a provider refuses with: it costs nothing, unless the provider says so, and another call with
# the same key may go out. 402: no credits; 401 and 403: the key is wrong; 409: a call with the same
# key is still under way.
REFUSALS = (401, 402, 403, 407, 408, 409, 425, 429)
ASKED = (425, 429)  # of these: it asks to wait
NOT_FOUND = (404, 410)
UNREACHED = 0  # what is kept as the status of a call that reached nobody
KEPT_OF_REFUSAL = 2000  # bytes of its body
LONGEST_WAIT_S = 86_400.0


class ProviderRefused(Exception):
    """The provider did not take the call: an error of its own, no credits, or a wrong key."""

    def __init__(self, says: str, status: int) -> None:
        super().__init__(says)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What a provider has answered, now or when it was paid for.

    `kept`: no call was made for it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    kept: bool = False

    def json(self) -> Any:
        """The body, read as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)

    def text(self) -> str:
        """The body, as text in the character set that its headers name; UTF-8 by default."""
        _, _, charset = self.headers.get("content-type", "").partition("charset=")
        try:
            return self.body.decode(charset.strip(' "') or "utf-8", "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    @property
    def refused(self) -> bool:
        """Whether it is no answer to what was asked: see `REFUSALS`."""
        return self.status in (UNREACHED, *REFUSALS) or self.status >= 500


def checked(answer: Answer) -> Answer:
    """The answer, if it is one.

    Raises:
        RetryAfter: the provider asks to wait.
        ProviderRefused: it has not done what was asked.
    """
    if not answer.refused:
        return answer
    says = f"the provider answered {answer.status}"
    wait_s = retry_after_s(answer.headers.get("retry-after", ""))
    if answer.status in ASKED or wait_s:
        raise RetryAfter(wait_s, says)
    raise ProviderRefused(f"{says}: {redacted(answer.text()[:200])}", answer.status)


def retry_after_s(given: str) -> float:
    """The seconds of a Retry-After header, which names seconds or a date; 0 if it names neither."""
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(given)))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(given)
    except (TypeError, ValueError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(LONGEST_WAIT_S, max(0.0, (at - datetime.now(UTC)).total_seconds()))


def unrepeated() -> "aiohttp.ClientMiddlewareType":
    """What keeps aiohttp from sending a GET again by itself when its connection was cut."""
    cut: list[Exception] = []

    async def once(
        request: "aiohttp.ClientRequest", handler: "aiohttp.ClientHandlerType"
    ) -> "aiohttp.ClientResponse":
        if cut:
            raise cut[0]
        try:
            return await handler(request)
        except Exception as error:
            cut.append(error)
            raise

    return once


def reached_nobody(error: Exception) -> bool:
    """Whether a call has failed before a connection was there, so that nothing was asked."""
    import aiohttp

    return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.InvalidURL))


def readable(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it is kept: as JSON, without headers and without secrets."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(part) for part in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    found: dict[str, Any] = masked_values({key: plain(value) for key, value in asked.items()})
    if "url" in found:
        found["url"] = masked(str(found["url"]))
    return found
