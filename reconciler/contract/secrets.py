"""Secrets that steps have read: where they come from, and how they stay out of all that is kept."""

import json
import logging
import os
from functools import cache
from urllib.parse import quote, quote_plus

from dotenv import dotenv_values

MASK = "***"
# A shorter value would be found within many a word that is no secret.
SHORTEST = 6


class MissingSecret(Exception):
    """A secret that a step asked for is not set."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not set for the workers: put it into their environment or .env, or on "
            "Modal into a Secret that @step(secrets=[…]) names"
        )


_read: set[str] = set()  # every form in which a value may turn up


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
        _read.update({value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]})


def masked(text: str) -> str:
    """`text` with `***` in place of each secret that was read."""
    for value in sorted(_read, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


class Masking(logging.Filter):
    """Keeps secrets out of log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the line's message anew; every line stays."""
        record.msg, record.args = masked(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = masked(logging.Formatter().formatException(record.exc_info))
        return True


def log_masked() -> None:
    """Write log lines to stderr, without secrets."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Masking())


@cache
def _of_file() -> dict[str, str | None]:
    return dotenv_values(".env")
