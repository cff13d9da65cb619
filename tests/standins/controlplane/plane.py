"""The control plane's state, and what a test may ask of it and do to it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status

from tests.standins.controlplane.blobs import Blobs
from tests.standins.controlplane.calls import Call, Input, Pulse
from tests.standins.controlplane.container import Container
from tests.standins.controlplane.deployed import DeployedApp, DeployedFunction, Uploads
from tests.standins.controlplane.dispatch import CONTAINER_HEADER
from tests.standins.controlplane.faults import Fault, Faults, Injected
from tests.standins.controlplane.protocols import Port, Runner

log = logging.getLogger("controlplane")

TOKEN = ("ak-controlplane", "as-controlplane")


class ControlPlane:
    """All that Modal remembers, in one place, in the memory of one thread's event loop.

    A test reads the attributes from its own thread at any time; the methods below are safe from
    there too. `counts` has the RPCs served, and `missing` those asked for that are not spoken.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = ""
        self.port: Port | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tokens = {TOKEN}
        self.apps: dict[str, DeployedApp] = {}
        self.apps_by_id: dict[str, DeployedApp] = {}
        self.functions: dict[str, DeployedFunction] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.secrets_by_id: dict[str, dict[str, str]] = {}
        self.secret_ids: dict[str, str] = {}
        self.uploads = Uploads()
        self.blobs = Blobs()
        self.calls: list[Call] = []
        self.calls_by_id: dict[str, Call] = {}
        self.inputs: dict[str, Input] = {}
        self.containers_by_id: dict[str, Container] = {}
        self.counts: Counter[str] = Counter()
        self.missing: set[str] = set()
        self.changed = Pulse()
        self.runner: Runner | None = None
        self._faults = Faults()
        self._claimed: dict[str, int] = {}
        self._twice = 0

    # --- what a test asks ---

    def environment(self) -> dict[str, str]:
        """What a client needs to speak to this plane and to nobody else."""
        token_id, token_secret = TOKEN
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": token_id,
            "MODAL_TOKEN_SECRET": token_secret,
            "MODAL_CONFIG_PATH": str(self.home / "no-modal.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def containers(self) -> list[Container]:
        """The containers that are alive, oldest first."""
        return list(self.containers_by_id.values())

    def waiting(self, tag: str) -> int:
        """How many inputs of the function `tag` no worker has yet, or what is claimed if more."""
        waits = [len(found.queue) for found in list(self.functions.values()) if found.tag == tag]
        return max(sum(waits), self._claimed.get(tag, 0))

    def until(self, found: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Block until `found()` is true, asked whenever the plane changes; its last answer."""
        return self._run(self.changed.until(found, timeout_s))

    def _run(self, work: Coroutine[Any, Any, Any], timeout_s: float | None = None) -> Any:
        """Do something on the plane's loop, from another thread."""
        assert self.loop
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    # --- what a test does ---

    def inject(
        self, rpc: str, fault: Fault, *, function: str | None = None, times: int | None = None
    ) -> None:
        """Let `rpc` meet a fault, `times` times or until cleared, for one function's tag or all.

        Every attempt of the client counts, so its own retries use `times` up.
        """
        self._faults.add(Injected(rpc, fault, function, times))

    def clear_faults(self) -> None:
        """Take all faults away."""
        self._faults.clear()

    def set_backlog(self, tag: str, inputs: int) -> None:
        """Claim a backlog of at least so many inputs; 0 tells the truth again."""
        self._claimed[tag] = inputs

    def deliver_twice(self, inputs: int = 1) -> None:
        """Let the next so many inputs be handed to two workers each."""
        self._twice += inputs

    def forget_calls(self) -> None:
        """Drop every call, done or not: what stays is what was deployed."""
        assert self.loop
        asyncio.run_coroutine_threadsafe(self._forget_calls(), self.loop).result(30)

    async def _forget_calls(self) -> None:
        for function in self.functions.values():
            while function.queue.take(""):
                pass
        self.calls, self.calls_by_id, self.inputs = [], {}, {}
        self._claimed = {}
        self.counts.clear()

    def run_with(self, runner: Runner | None) -> None:
        """Execute what waits with `runner` from now on; None lets it queue up.

        Raises:
            TimeoutError: the workers did not stop or start within 30 s.
        """
        self._run(self.change_runner(runner), 30)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Within the block nobody reaches the plane, containers included; it forgets nothing."""
        assert self.port
        self._run(self.port.close())
        try:
            yield
        finally:
            self._run(self.port.open())

    async def change_runner(self, runner: Runner | None) -> None:
        """See `run_with`; on the plane's loop."""
        if self.runner:
            await self.runner.stop()
        self.runner = runner
        if runner:
            await runner.start(self)

    # --- what the dispatch asks ---

    def admit(self, metadata: dict[str, str]) -> str:
        """See `dispatch.Plane`.

        Raises:
            GRPCError: neither a living container nor a token that is accepted.
        """
        container = metadata.get(CONTAINER_HEADER, "")
        if container in self.containers_by_id:
            return container
        token = metadata.get("x-modal-token-id", ""), metadata.get("x-modal-token-secret", "")
        if token not in self.tokens:
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed")
        return ""

    def strike(self, rpc: str, request: Message) -> Fault | None:
        """See `dispatch.Plane`."""
        return self._faults.strike(rpc, self._tag_of(request))

    def count(self, rpc: str) -> None:
        """See `dispatch.Plane`."""
        self.counts[rpc] += 1

    def _tag_of(self, request: Any) -> str | None:
        """The function that a request is about, by whichever field it names one."""
        if tag := getattr(request, "object_tag", ""):
            return str(tag)
        if found := self.functions.get(getattr(request, "function_id", "")):
            return found.tag
        call = self.calls_by_id.get(getattr(request, "function_call_id", ""))
        return call.function if call else None

    # --- what the RPCs and the runners share ---

    def function(self, function_id: str) -> DeployedFunction:
        """The deployed function with this id.

        Raises:
            GRPCError: no app that runs has it.
        """
        if found := self.functions.get(function_id):
            return found
        raise GRPCError(Status.NOT_FOUND, f"Function {function_id} is not deployed")

    def give(self, function: DeployedFunction, worker: str) -> Input | None:
        """The function's oldest input, for `worker` to execute."""
        one = function.queue.take(worker)
        if one and self._twice:
            self._twice -= 1
            function.queue.put(one, unless=worker)
        if one:
            self.changed.beat()
        return one

    def give_back(self, one: Input, worker: str) -> None:
        """The worker that had an input is gone: another gets it, unless it is settled."""
        elsewhere = [
            container
            for container in self.containers
            if one.input_id in container.holding and container.container_id != worker
        ]
        if one.call.cancelled:
            one.terminate()
        elif not one.done and not elsewhere and one.call.function_id in self.functions:
            self.functions[one.call.function_id].queue.put_back(one)
        self.changed.beat()

    def retire(self, functions: list[DeployedFunction]) -> None:
        """Functions are no longer deployed: what waits for them never runs."""
        for function in functions:
            self.functions.pop(function.function_id, None)
            while one := function.queue.take(""):
                one.deliveries -= 1
                one.terminate()
        self.changed.beat()

    def stop_app(self, app: DeployedApp) -> None:
        """What `modal app stop` does: lookups fail from now on, containers end."""
        app.stopped_at = time.time()
        self.apps.pop(app.name, None)
        self.retire(list(app.functions.values()))
        for container in self.containers:
            if container.deployed.app is app:
                container.kill()

    def secrets_of(self, function: DeployedFunction) -> dict[str, str]:
        """The variables that the function's secrets put into a container's environment."""
        found = (self.secrets_by_id[one] for one in function.definition.secret_ids)
        return dict(chain.from_iterable(secret.items() for secret in found))
