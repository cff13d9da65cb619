"""Spawns calls on Modal: the deployed app's name and the function's are all that it knows."""

import asyncio
from collections.abc import Sequence

import grpclib
import modal
from grpclib.exceptions import StreamTerminatedError

from reconciler.contract.store import Chunk
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unknown

CallFunction = modal.Function[[list[int]], None, None]

# What says for certain that nothing was started. Anything else may have landed.
REFUSALS = (
    modal.exception.NotFoundError,
    modal.exception.AuthError,
    modal.exception.InvalidError,
    modal.exception.ResourceExhaustedError,
)
DOUBTS = (
    modal.exception.Error,
    grpclib.GRPCError,
    StreamTerminatedError,
    OSError,
    TimeoutError,
)


class ModalSpawner:
    """One `Function.spawn` per chunk, all of a tick at once, each bounded by `timeout_s` seconds.

    `spawn` has no time-out of its own: an unreachable server takes 57 s, a silent one 160 s.
    """

    def __init__(self, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._functions: dict[tuple[str, str], CallFunction] = {}

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        """See `Spawner.spawn`."""
        return asyncio.run(self._spawn_all(chunks))

    async def _spawn_all(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        return list(await asyncio.gather(*map(self._spawn_one, chunks)))

    async def _spawn_one(self, chunk: Chunk) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                call = await self._function(chunk).spawn.aio(chunk.company_ids)
        except REFUSALS as error:
            return Refused(f"{type(error).__name__}: {error}")
        except DOUBTS as error:
            return Unknown(f"{type(error).__name__}: {error}")
        return Spawned(call.object_id)

    def _function(self, chunk: Chunk) -> CallFunction:
        """The deployed function; looked up once per process, since a lookup is a round trip."""
        name = (chunk.app_name, chunk.function_name)
        if name not in self._functions:
            self._functions[name] = modal.Function.from_name(*name)
        return self._functions[name]
