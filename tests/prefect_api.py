"""A stand-in for the part of Prefect's API that says how the schedule of the loop is."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Scheduler:
    """What it answers, which a test may change."""

    url: str = ""
    deployed: bool = True
    active: bool = True
    every_s: float = 120
    next_run_at: str | None = "2100-01-01T00:00:00+00:00"
    workers: int | None = 1  # that are online; None where there is no work pool

    def answer(self, path: str) -> Any:
        """The JSON of an answer; None where there is no such thing."""
        if path == "/api/deployments/name/reconcile/tracer":
            slot = {"slug": "reconcile", "active": self.active, "schedule": {}}
            slot["schedule"] = {"interval": self.every_s}
            found = {"id": "1", "paused": False, "entrypoint": "flow.py:f", "schedules": [slot]}
            return found if self.deployed else None
        if path == "/api/flow_runs/filter":
            return [{"expected_start_time": self.next_run_at}] if self.next_run_at else []
        if path == "/api/work_pools/tracer/workers/filter":
            return None if self.workers is None else [{}] * self.workers
        raise AssertionError(path)


@contextmanager
def scheduling() -> Iterator[Scheduler]:
    """A server that answers as its `Scheduler` says."""
    scheduler = Scheduler()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = scheduler.answer(self.path)
            body = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - named by the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheduler.url = f"http://127.0.0.1:{server.server_port}/api"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield scheduler
        finally:
            server.shutdown()
            thread.join()
