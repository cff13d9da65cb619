"""The outside APIs that steps call, and the limits that a step's author knows of them."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from reconciler.contract.errors import BadInput
from reconciler.contract.limits import Window, documents, read_windows

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
F = TypeVar("F", bound=Callable[..., Any])


class Provider(str):
    """A provider's name, with the limits that it has first; `tracer providers set` changes them.

    `@step(provider=…)` takes it. It is a decorator too, below `@step`.
    """

    windows: tuple[Window, ...] = ()
    burst: int = 1
    max_concurrent: int | None = None

    def __call__(self, function: F) -> F:
        """Have the step that the function becomes call this provider."""
        function.tracer_provider = self  # type: ignore[attr-defined]
        return function

    @property
    def limits(self) -> dict[str, Any]:
        """Its columns of the table `providers`, as far as they are known."""
        return {
            "windows": documents(self.windows) or None,
            "burst": self.burst,
            "max_concurrent": self.max_concurrent,
        }


def provider(
    name: str, *, limit: str = "none", burst: int = 1, max_concurrent: int | None = None
) -> Provider:
    """A provider, and what is known of its limits.

    Args:
        name: its name, which its steps share.
        limit: how often it may be called, such as "5/s,1000/d"; "none" where nobody knows.
        burst: calls that may go out at once after a quiet time.
        max_concurrent: calls that may be under way at a time.

    Raises:
        ValueError: an argument is out of its bounds.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no provider's name: use a-z, 0-9 and _")
    if burst < 1 or (max_concurrent is not None and max_concurrent < 1):
        raise ValueError("burst and max_concurrent are at least 1")
    made = Provider(name)
    try:
        made.windows = read_windows(limit)
    except BadInput as error:
        raise ValueError(error.says) from error
    made.burst, made.max_concurrent = burst, max_concurrent
    return made
