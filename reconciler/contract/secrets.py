"""Secrets that steps have read: where they come from, and how they stay out of all that is kept."""

import html
import json
import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus

from dotenv import dotenv_values

MASK = "***"
# A shorter value would be found within many a word that is no secret.
SHORTEST = 6
# What aiohttp leaves as it is in a path, and in the value of a query.
SAFE_IN_URLS = ("@:!$&'()*+,;=/", "?/:@!$'()*,")

# A query: after the address of a web page whatever it is, elsewhere if it has a name and a "=", as
# where a client names the path alone. It ends with a blank or a quote.
_QUERY = re.compile(r"""(?P<address>\bhttps?://[^\s?"<>]*)\?[^\s"<>]+|\?[^\s?"'<>=]+=[^\s"<>]*""")
_CLOSING = ").,:;]}'"
_USER = re.compile(r"""//[^\s/@"'<>]+@""")


class MissingSecret(Exception):
    """A secret that a step asked for is not set."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not set for the workers: put it into their environment or .env, or on "
            "Modal into a Secret that @step(secrets=[…]) names"
        )


_read: set[str] = set()  # every form in which a value may turn up


def lacking_secrets(names: Iterable[str]) -> list[str]:
    """Those of these secrets that are not set here."""
    return [name for name in names if not (os.environ.get(name) or _of_file().get(name))]


def read_secret(name: str) -> str:
    """The value of an environment variable, or of a line of `.env` in the working directory.

    Raises:
        MissingSecret: it is not set, or empty.
    """
    value = os.environ.get(name) or _of_file().get(name)
    if not value:
        raise MissingSecret(name)
    remember(value)
    return value


def remember(value: str) -> None:
    """Let `masked` find this value."""
    if len(value) >= SHORTEST and value not in _read:
        plain = {value, html.escape(value), repr(value)[1:-1]}
        in_urls = {quote(value, safe=safe) for safe in ("", "/", *SAFE_IN_URLS)}
        in_json = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        _read.update(plain | in_urls | in_json | {quote_plus(value)})


def masked(text: str) -> str:
    """`text` with `***` in place of each secret that was read."""
    for value in sorted(_read, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def redacted(text: str) -> str:
    """`text`, such as an error's, without the secrets that were read, and without what addresses in
    it often carry: a query, a user and a password.

    A step may have read a key by other means, so that `masked` does not know it.
    """
    text = _USER.sub(f"//{MASK}@", masked(text))
    return _QUERY.sub(_without_query, text)


def _without_query(found: re.Match[str]) -> str:
    """The address that was found; what ends a sentence or a bracket stays behind it."""
    whole = found[0]
    return f"{found['address'] or ''}?{MASK}{whole[len(whole.rstrip(_CLOSING)) :]}"


def masked_values(found: Any) -> Any:
    """What JSON can hold, with `***` for the secrets in its strings; numbers stay as they are."""
    if not _read:  # of most steps: each result comes by here
        return found
    match found:
        case str():
            return masked(found)
        case list():
            return [masked_values(value) for value in found]
        case dict():
            return {masked(str(key)): masked_values(value) for key, value in found.items()}
    return found


class Masking(logging.Filter):
    """Keeps secrets out of log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the line's message anew; every line stays."""
        record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


def log_masked() -> None:
    """Write log lines to stderr, without secrets."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Masking())


@cache
def _of_file() -> dict[str, str | None]:
    return dotenv_values(".env")
