"""A provider that refuses what is over its limit, by a strict sliding window, and counts.

    python -m tests.bench.limits.server PORT LIMIT WINDOW_S LATENCY_S RETRY_AFTER

A refused call does not count for the window. RETRY_AFTER is that header of each 429; "" for none.
`GET /counts` gives what has come: the times of all calls (Unix time) with their answers, and how
many were under way at a time.
"""

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Provider:
    """See the module."""

    limit: int
    window_s: float
    latency_s: float
    retry_after: str
    taken: deque[float] = field(default_factory=deque)
    calls: list[tuple[float, int, str]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """What is known of a company, 429, or the counts."""
        if request.path == "/counts":
            return web.json_response({"calls": self.calls, "most": self.most})
        now = time.time()
        while self.taken and self.taken[0] <= now - self.window_s:
            self.taken.popleft()
        if len(self.taken) >= self.limit:
            self.calls.append((now, 429, request.path))
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.Response(status=429, headers=headers)
        self.taken.append(now)
        self.calls.append((now, 200, request.path))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            # Not cancelled when its caller goes: it works on, as a provider does.
            await asyncio.shield(asyncio.ensure_future(asyncio.sleep(self.latency_s)))
        finally:
            self.under_way -= 1
        return web.json_response({"employees": len(request.path)})


async def serve(port: int, *terms: str) -> None:
    """Answer until it is ended."""
    limit, window_s, latency_s, retry_after = terms
    provider = Provider(int(limit), float(window_s), float(latency_s), retry_after)
    runner = web.ServerRunner(web.Server(provider.answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *sys.argv[2:]))
