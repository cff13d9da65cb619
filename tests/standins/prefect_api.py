"""A stand-in for the part of Prefect's API that says how the schedule of the loop is."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    cron: str | None = None  # in place of the interval
    scheduled: bool = True  # whether there is a schedule at all
    next_run_at: str | None = "2100-01-01T00:00:00+00:00"
    workers: int | None = 1  # of the pool that are online; None where there is no work pool
    pool: str | None = "tracer"  # of the deployment
    pool_paused: bool = False
    pool_limit: int | None = None
    queue_paused: bool = False
    queue_limit: int | None = None

    started: list[dict[str, Any]] = field(default_factory=list)  # the runs that were

    def answer(self, path: str, asked: Any = None) -> Any:
        """The JSON of an answer; None where there is no such thing."""
        if path == "/api/deployments/name/reconcile/tracer":
            return self._deployment() if self.deployed else None
        if path == "/api/flow_runs/filter" and "start_time" in asked["flow_runs"]:
            return self.started
        if path == "/api/flow_runs/filter":
            return [{"expected_start_time": self.next_run_at}] if self.next_run_at else []
        return self._pool(path.removeprefix(f"/api/work_pools/{self.pool or 'tracer'}"))

    def _deployment(self) -> dict[str, Any]:
        schedule = {"cron": self.cron} if self.cron else {"interval": self.every_s}
        slot = {"slug": "reconcile", "active": self.active, "schedule": schedule}
        return {
            "id": "1",
            "paused": False,
            "entrypoint": "flow.py:f",
            "schedules": [slot] if self.scheduled else [],
            "work_pool_name": self.pool,
            "work_queue_name": self.pool and "default",
        }

    def _pool(self, part: str) -> Any:
        if self.workers is None:
            return None
        answers: dict[str, Any] = {
            "": {"is_paused": self.pool_paused, "concurrency_limit": self.pool_limit},
            "/queues/default": {
                "is_paused": self.queue_paused,
                "concurrency_limit": self.queue_limit,
            },
            "/workers/filter": [{}] * self.workers,
        }
        return answers[part]


@contextmanager
def scheduling() -> Iterator[Scheduler]:
    """A server that answers as its `Scheduler` says."""
    scheduler = Scheduler()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = scheduler.answer(self.path, json.loads(asked or b"null"))
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
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield scheduler
        finally:
            server.shutdown()
            thread.join()
