"""The version of a step: a short hash of what its author wrote."""

import ast
import inspect
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from typing import Any

from reconciler.contract.results import StepResult

DIGITS = 12


def version_of(function: Callable[..., Any], table: type[StepResult]) -> str | None:
    """The version of a step, 12 hex digits: it changes with its function, or its table's class.

    The decorator does not count, since its arguments say how a step runs, and not what it finds.
    Nor does code that the function calls. Where there is no source, it is that of the whole file;
    None where there is no file either.
    """
    try:
        written = "".join(_sources(function, table)).encode()
    except (OSError, TypeError, SyntaxError):
        written = _file_of(function)
    return sha256(written).hexdigest()[:DIGITS] if written else None


def _sources(function: Callable[..., Any], table: type[StepResult]) -> Iterator[str]:
    source = dedent(inspect.getsource(function))
    made = ast.parse(source).body[0]
    yield "".join(source.splitlines(keepends=True)[made.lineno - 1 :])
    for written in table.__mro__:
        if written not in StepResult.__mro__:
            yield dedent(inspect.getsource(written))


def _file_of(function: Callable[..., Any]) -> bytes:
    try:
        return Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):
        return b""
