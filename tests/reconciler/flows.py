"""A Prefect server, and a process beside it that runs the flow as often as it is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.contract.settings import Settings
from reconciler.local.postgres import supervisor
from reconciler.local.service import HOST, Service, environment, free_port
from reconciler.local.stack import PREFECT
from reconciler.prefect.api import local_server, open_api
from tests.bench.memory import answers
from tests.prefect_database import give
from tests.scratch import make_scratch


class Flows:
    """Both, until `stop`."""

    def __init__(self, database: Path) -> None:
        self.home = make_scratch("tracer-flows-")
        give(database, self.home)
        for name in ("logs", "tmp"):
            (self.home / name).mkdir()
        settings = Settings.model_validate({"TRACER_HOME": self.home})
        port = str(free_port((0,)))  # that of a stack which starts meanwhile is 4200
        self.ui_url = f"http://{HOST}:{port}"
        self._seen = environment(settings, "") | {"PREFECT_API_URL": f"{self.ui_url}/api"}
        command = (*PREFECT, "server", "start", "--host", HOST, "--port", port)
        self._server = Service("prefect-server", command, self._seen, self.home / "logs")
        self.said = self.home / "logs" / "flows.log"
        self._process: subprocess.Popen[str] | None = None
        self.going_on = False

    def launch(self) -> None:
        """Return once the server answers; the other process gets ready meanwhile."""
        self.relaunch()
        self._server.wait_ready(partial(answers, self._seen["PREFECT_API_URL"]), 120)

    def relaunch(self) -> None:
        """Have another process run the flow from now on."""
        self._end_process()
        with self.said.open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.reconciler.flow_runner"],
                **{"env": self._seen, "text": True, "stderr": said},
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
            )
        self.going_on = False

    def _end_process(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()

    def begin(self, url: str | None, constants: Mapping[str, float] | None = None) -> None:
        """Begin a run on the database of `url`; `constants`: {"flow.PATIENCE_S": 0.1}."""
        named = {f"reconciler.{name}": value for name, value in (constants or {}).items()}
        wanted = {"environment": {"DATABASE_URL": url}, "constants": named}
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(wanted)}\n")
        self._process.stdin.flush()
        self.going_on = True

    def end(self) -> dict[str, Any]:
        """What became of the run that was begun: its `id`, `state`, and what that `says`."""
        assert self._process
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self.said.read_text()[-3000:]
        found: dict[str, Any] = json.loads(line)
        self.going_on = False
        return found

    def run(self, url: str | None, constants: Mapping[str, float] | None = None) -> dict[str, Any]:
        """A run from its begin to its end."""
        self.begin(url, constants)
        return self.end()

    def logged(self, text: str) -> int:
        """How often the log of the runs has `text`."""
        return self.said.read_text().count(text)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server."""
        with open_api(local_server(self._seen["PREFECT_API_URL"])) as api:
            return api.call(method, path, body)

    def artifacts(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """What a run has left."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        found: list[dict[str, Any]] = self.call("POST", "artifacts/filter", wanted)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of that name that the server has, the newest first."""
        wanted = {"filter": {"event": {"name": [name]}}, "limit": 50}
        found: list[dict[str, Any]] = self.call("POST", "events/filter", wanted)["events"]
        return found

    @contextmanager
    def silent(self) -> Iterator[None]:
        """A server that accepts and answers nothing, for the length of the block."""
        programs = [one.pid for one in self._server.programs()]
        for pid in programs:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in programs:
                os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End both, and all that they have started."""
        self._end_process()
        self._server.stop()
        supervisor.stop(self.home)
        shutil.rmtree(self.home)
