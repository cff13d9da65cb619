"""The web API that the steps ask: it answers each request after a while, and counts.

    python -m tests.bench.api.server PORT LATENCY_S

`GET /counts` says what it has seen since the last time it was asked that.
"""

import asyncio
import sys
import time
from dataclasses import asdict, dataclass

from aiohttp import web


@dataclass
class Counts:
    """What was asked: how often, how many at the same time, and when first."""

    requests: int = 0
    most_at_once: int = 0
    first_at: float | None = None


class Api:
    """Answers about companies."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._counts = Counts()
        self._open = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Any path: what is known about a company, after the latency."""
        if request.path == "/counts":
            counts, self._counts = self._counts, Counts()
            return web.json_response(asdict(counts))
        counts = self._counts
        counts.first_at = counts.first_at or time.time()
        counts.requests += 1
        self._open += 1
        counts.most_at_once = max(counts.most_at_once, self._open)
        try:
            await asyncio.sleep(self._latency_s)
        finally:
            self._open -= 1
        known = {"country": "CH", "industry": "Software", "employees": len(request.path)}
        return web.json_response(known)


async def serve(port: int, latency_s: float) -> None:
    """Answer until it is ended."""
    runner = web.ServerRunner(web.Server(Api(latency_s).answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
