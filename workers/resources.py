"""What steps share in a worker process, such as an HTTP session: opened once, at its first use."""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    import aiohttp

Opener = Callable[[], AsyncGenerator[Any, None]]
log = logging.getLogger("tracer.worker")
G = TypeVar("G", bound=Callable[[], Any])


OPEN_WITHIN_S = 60.0  # then the opening is given up, and the next call tries again
CLOSE_WITHIN_S = 3.0  # a local host gives its processes 5 s to end, once all is written
OPENERS: dict[type, Opener] = {}


async def http_session() -> "AsyncGenerator[aiohttp.ClientSession, None]":
    """The built-in resource for HTTP.

    It has no limits of its own: a step's `concurrency` bounds its calls, its `timeout_s` their
    time.
    """
    import aiohttp  # it takes a command 0.2 s; a step that uses it has imported it

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


def opener(kind: type) -> Opener | None:
    """What opens a resource of this type."""
    return http_session if is_http(kind) else OPENERS.get(kind)


def is_http(kind: type) -> bool:
    """Whether it is `aiohttp.ClientSession`, which works on the event loop alone."""
    return (kind.__module__, kind.__qualname__) == ("aiohttp.client", "ClientSession")


def resource(function: G) -> G:
    """Make an async generator function a resource: what it yields is given to steps.

    A step gets it for a parameter that is annotated with its type. It is opened once per worker
    process, at its first use, and closed when the process ends.

    Raises:
        TypeError: the function is no async generator, takes arguments, or does not say in its
            annotation, `AsyncIterator[T]`, what it yields.
        ValueError: another resource has the type.
    """
    name = function.__name__
    if not inspect.isasyncgenfunction(function) or inspect.signature(function).parameters:
        raise TypeError(f"{name} must be an `async def` without parameters that yields once")
    kind = next(iter(get_args(get_type_hints(function).get("return"))), None)
    if not isinstance(kind, type):
        raise TypeError(f"{name} must be annotated to return AsyncIterator[T], T being a class")
    other = opener(kind)
    if other is not None and (other.__module__, other.__name__) != (function.__module__, name):
        raise ValueError(f"{other.__module__}.{other.__name__} is a {kind.__name__} already")
    OPENERS[kind] = function
    return function


class Resources:
    """The open resources of one event loop."""

    def __init__(self) -> None:
        self._opening: dict[type, asyncio.Task[Any]] = {}
        self._open = AsyncExitStack()

    async def of(self, kinds: Mapping[str, type]) -> dict[str, Any]:
        """The resources of these types, by the same names; those that are not open are opened.

        Raises:
            Exception: a resource cannot be opened. The next call tries again.
        """
        return {name: await self._get(kind) for name, kind in kinds.items()}

    async def http(self) -> "aiohttp.ClientSession":
        """The built-in session."""
        import aiohttp

        session: aiohttp.ClientSession = await self._get(aiohttp.ClientSession)
        return session

    async def _get(self, kind: type) -> Any:
        opening = self._opening.get(kind)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = self._opening[kind] = asyncio.ensure_future(self._enter(kind))
        return await asyncio.shield(opening)  # a step that is timed out leaves it to the others

    async def _enter(self, kind: type) -> Any:
        opened = opener(kind)
        if opened is None:  # `load_steps` has checked that there is one
            raise LookupError(f"no @resource yields a {kind.__name__}")
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                return await self._open.enter_async_context(asynccontextmanager(opened)())
        except TimeoutError:
            name = kind.__name__
            raise TimeoutError(f"{name} was not opened within {OPEN_WITHIN_S:g} s") from None

    async def aclose(self) -> None:
        """Close them, the newest first; one that cannot be closed keeps nobody waiting."""
        for opening in self._opening.values():
            opening.cancel()
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._open.aclose()
        except BaseException as error:  # noqa: BLE001 - a stranger's code: anything may come
            log.warning("a resource was not closed: %s: %s", type(error).__name__, error)
