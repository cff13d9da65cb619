"""The text of an error for a person: what a server has answered, and where.

Clients of HTTP write their errors as code would write them (`403, message='Forbidden', url='…'`),
or add a line of advice.
"""

import re
import sys

ADVICE = "\nFor more information check: "  # httpx's own words; others are the step's author's
# An error of aiohttp's in the text of another one.
WITHIN = re.compile(r"<\w+: \d+, message=(['\"])(.*?)\1>")


def plain(error: BaseException) -> str:
    """The text of an error, which may itself be out of order and raise.

    An address is in quotes: errors are grouped by their texts without what is in quotes.
    """
    text = str(error)
    # An error of a library that was never imported cannot be there; an import takes 0.2 s.
    aiohttp, httpx = sys.modules.get("aiohttp"), sys.modules.get("httpx")
    if aiohttp and isinstance(error, aiohttp.ClientResponseError):
        return _answered(error.status, error.message, error.request_info.real_url)
    if aiohttp and isinstance(error, aiohttp.ClientPayloadError):
        return WITHIN.sub(r"\2", text)
    if httpx and isinstance(error, httpx.HTTPStatusError) and ADVICE in text:
        response = error.response
        return _answered(response.status_code, response.reason_phrase, response.url)
    return text


def _answered(status: int, message: str, url: object) -> str:
    return f"{' '.join([str(status), *message.split()])}, from '{url}'"
