"""One real container: Modal's own entrypoint in a process of its own, on the uploaded code."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2

from tests.standins.controlplane.calls import Input, Pulse, fresh_id
from tests.standins.controlplane.deployed import DeployedFunction, Uploads
from tests.standins.controlplane.dispatch import CONTAINER_HEADER

log = logging.getLogger("controlplane")

# Site-packages are the interpreter's, as an image's would be; a folder that an editable install
# adds would make present what was never uploaded.
SITE = """
import sys

CODE, SITE = {code!r}, {site!r}
KEPT = (CODE, SITE, sys.prefix, sys.base_prefix)
sys.path[:] = [p for p in sys.path if not p or p.startswith(KEPT) or p.endswith("site-packages")]
"""


@dataclass(eq=False)
class Container:
    """A container from its start to its end.

    `holding` has the inputs that it took and has not answered; when it is `draining` it gets no
    more.
    """

    deployed: DeployedFunction
    home: Path
    version: int
    container_id: str = field(default_factory=lambda: fresh_id("ta"))
    holding: dict[str, Input] = field(default_factory=dict)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    draining: bool = False
    up: bool = False  # it has said hello
    changed: Pulse = field(default_factory=Pulse)
    process: asyncio.subprocess.Process | None = None
    _cancels: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where its code and its output are."""
        return self.home / self.container_id

    @property
    def function(self) -> str:
        """The function's tag."""
        return self.deployed.tag

    @property
    def pid(self) -> int:
        """The process's id; 0 while it is being started."""
        return self.process.pid if self.process else 0

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return (self.folder / "output.log").read_text(errors="replace")

    @property
    def capacity(self) -> int:
        """How many inputs it takes at a time."""
        definition = self.deployed.definition
        return max(1, definition.max_concurrent_inputs, definition.batch_max_size)

    def kill(self) -> None:
        """End it without a word, as a preemption does; its inputs go to another."""
        if self.process and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    def cancel(self, one: Input) -> None:
        """Tell it, with the answer to its heartbeat, that an input is cancelled."""
        self._cancels.append(one.input_id)
        self.changed.beat()

    async def cancels(self, timeout_s: float) -> list[str]:
        """The inputs to cancel, as soon as there are any, each once."""
        found: list[str] = await self.changed.until(lambda: self._cancels, timeout_s)
        self._cancels = []
        return found

    def settle(self, input_id: str) -> None:
        """It answered an input, or lost it."""
        self.holding.pop(input_id, None)
        if timer := self.timers.pop(input_id, None):
            timer.cancel()

    async def start(self, url: str, uploads: Uploads, secrets: Mapping[str, str]) -> None:
        """Lay out the code and start the entrypoint."""
        code, site = self.folder / "root", self.folder / "site"
        for folder in (code, site):
            folder.mkdir(parents=True)
        uploads.lay_out(self.deployed.definition, code)
        customize = SITE.format(code=str(code), site=str(site))
        (site / "sitecustomize.py").write_text(customize)
        (self.folder / "arguments").write_bytes(self._arguments().SerializeToString())
        with (self.folder / "output.log").open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "modal._container_entrypoint"),
                cwd=code,
                env=self._environment(url, f"{code}{os.pathsep}{site}", secrets),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _arguments(self) -> api_pb2.ContainerArguments:
        return api_pb2.ContainerArguments(
            task_id=self.container_id,
            function_id=self.deployed.function_id,
            app_id=self.deployed.app.app_id,
            function_def=self.deployed.definition,
            environment_name="main",
            app_layout=self.deployed.app.layout(),
        )

    def _environment(self, url: str, path: str, secrets: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": url,
            "MODAL_TASK_ID": self.container_id,
            "MODAL_ENVIRONMENT": "main",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(self.folder / "arguments"),
            "MODAL_OVERRIDE_HEADERS": f"{CONTAINER_HEADER}:{self.container_id}",
            **secrets,
        }
