"""A provider on loopback that charges, and keeps account of it."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from aiohttp import web

KEY = "Idempotency-Key"
# What it may do with a call, in place of an answer: charge it and cut the connection, cut it before
# it has charged, or charge it and never answer.
DROP, CUT, HANG = "drop", "cut", "hang"


@dataclass
class Provider:
    """Answers `/enrich` and `/enrich/many`; charges one credit for each company that it answers.

    `honours_keys`: a call with a key that it knows is answered as before, and costs nothing.
    `script`: by company, what is done with its next calls: a status, `DROP`, `CUT` or `HANG`; then
    it is answered. `charges`: by company, how often it was charged. `unknown`: companies that it
    does not know (404), which cost nothing. `retry_after`: what it says beside a 429.
    """

    honours_keys: bool = False
    unknown: set[str] = field(default_factory=set)
    script: dict[str, deque[int | str]] = field(default_factory=dict)
    charges: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[str]] = field(default_factory=dict)  # by key, the companies that it had
    seen: list[tuple[str, str]] = field(default_factory=list)  # company and key of each call
    latency_s: float = 0.0
    retry_after: str = "0"
    url: str = ""
    _stop: Event = field(default_factory=Event)

    def do(self, company: str, *steps: int | str) -> None:
        """Do this with the company's next calls."""
        self.script.setdefault(company, deque()).extend(steps)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """A company's employees."""
        return await self._answer(request, [request.query["domain"]])

    async def many(self, request: web.Request) -> web.StreamResponse:
        """Those of many companies."""
        return await self._answer(request, (await request.json())["domains"])

    async def order(self, request: web.Request) -> web.StreamResponse:
        """What has become of the call with a key."""
        domains = self.keys.get(request.match_info["key"])
        return web.Response(status=404) if domains is None else web.json_response(body(domains))

    async def _answer(self, request: web.Request, domains: list[str]) -> web.StreamResponse:
        key = request.headers.get(KEY, "")
        self.seen.append((domains[0], key))
        self.calls.update(domains)
        await asyncio.sleep(self.latency_s)
        todo = self.script.get(domains[0])
        act = todo.popleft() if todo else 200
        if isinstance(act, int) and act != 200:
            asks = {"Retry-After": self.retry_after} if act == 429 and self.retry_after else {}
            return web.Response(status=act, headers=asks)
        if act != CUT and not (self.honours_keys and key in self.keys):
            known = [domain for domain in domains if domain not in self.unknown]
            self.charges.update(known)
            self.keys[key] = domains
        if act in (DROP, CUT):
            assert request.transport
            request.transport.abort()
        if act == HANG:
            await asyncio.sleep(3600)
        if len(domains) == 1 and domains[0] in self.unknown:
            return web.json_response({}, status=404)
        return web.json_response(body(domains))

    @contextmanager
    def running(self) -> Iterator["Provider"]:
        """Serve on a free port, in a thread of its own."""
        ready = Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            app = web.Application()
            app.router.add_get("/enrich", self.one)
            app.router.add_post("/enrich/many", self.many)
            app.router.add_get("/orders/{key}", self.order)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await loop.run_in_executor(None, self._stop.wait)
            await runner.cleanup()

        thread = Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(10)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


def body(domains: list[str]) -> dict[str, object]:
    """What it knows of companies."""
    return {"employees": len(domains[0]), "companies": {d: len(d) for d in domains}}
