"""Runs a control plane on the loopback: in a thread for tests, or in a loop that is there."""

import asyncio
import logging
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import grpclib.server
from grpclib.protocol import H2Protocol
from modal._utils.grpc_utils import custom_detail_codec

from tests.standins.controlplane.calling import Calling
from tests.standins.controlplane.deploying import Deploying
from tests.standins.controlplane.dispatch import Dispatch, spoken
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.protocols import Runner
from tests.standins.controlplane.secrets import Secrets
from tests.standins.controlplane.working import Working

log = logging.getLogger("controlplane")


class Server(grpclib.server.Server):
    """grpclib's server, which leaves its connections open when it closes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connected: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connected.add(protocol)
        return protocol

    @property
    def port(self) -> int:
        """Where it listens."""
        listening: Any = self._server
        found: int = listening.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        """Stop listening, cancel what runs, and close every connection."""
        super().close()
        for protocol in self._connected:
            if hasattr(protocol, "connection"):
                protocol.connection.close()


class Listener:
    """The plane's port, which can be closed and opened again while the plane remembers all."""

    def __init__(self, dispatch: Dispatch, port: int) -> None:
        self._dispatch = dispatch
        self._port = port
        self._server: Server | None = None

    async def open(self) -> str:
        """Listen; the URL, which is the same every time.

        Raises:
            OSError: the port is taken.
        """
        server = Server([self._dispatch], status_details_codec=custom_detail_codec)
        await server.start("127.0.0.1", self._port)
        self._server, self._port = server, server.port
        return f"http://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Listen no more, and cut what is under way."""
        server, self._server = self._server, None
        if server:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def running(runner: Runner | None = None, port: int = 0) -> AsyncIterator[ControlPlane]:
    """A plane that listens on 127.0.0.1, at a free port unless one is given."""
    with tempfile.TemporaryDirectory(prefix="controlplane-") as folder:
        plane = ControlPlane(Path(folder))
        plane.loop = asyncio.get_running_loop()
        rooms = (Deploying(plane), Secrets(plane), Calling(plane), Working(plane), plane.blobs)
        dispatch = Dispatch(plane, spoken(*rooms))
        plane.port = Listener(dispatch, port)
        try:
            plane.url = await plane.port.open()
            await plane.blobs.start()
            await plane.change_runner(runner)
            yield plane
        finally:
            await plane.change_runner(None)
            await plane.port.close()
            await plane.blobs.stop()


async def _serve(
    runner: Runner | None, port: int, started: "Future[tuple[ControlPlane, asyncio.Event]]"
) -> None:
    stop = asyncio.Event()
    async with running(runner, port) as plane:
        started.set_result((plane, stop))
        await stop.wait()


@contextmanager
def serve(runner: Runner | None = None, port: int = 0) -> Iterator[ControlPlane]:
    """A plane in a thread of its own, with what `runner` starts, for the length of the block.

    Raises:
        OSError: the port is taken.
    """
    started: Future[tuple[ControlPlane, asyncio.Event]] = Future()

    def run() -> None:
        try:
            asyncio.run(_serve(runner, port, started))
        except OSError as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            started.cancel()  # nobody waits for a thread that failed in another way

    thread = threading.Thread(target=run, name="controlplane")
    thread.start()
    try:
        plane, stop = started.result()
        try:
            yield plane
        finally:
            assert plane.loop
            plane.loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
