"""A small server that sells made-up answers about companies, and keeps account of each call.

What it does with a company depends on the company's domain alone, so each demo is like the last:
some it does not know (404), and the first call for some is refused (429, 500).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from threading import Thread
from typing import Any

from aiohttp import web

from workers.sample.account import Account

HOST = "127.0.0.1"
KEY = "Idempotency-Key"
RETRY_AFTER_S = 1
LEAST_S, MORE_S = 0.05, 0.25  # an answer takes so long, and up to so much longer
CMS = ("WordPress", "Drupal", "Contentful", "Adobe AEM", "made in-house")
ANALYTICS = ("Google Analytics", "Matomo", "Plausible", "Adobe Analytics")


def number(domain: str, about: str) -> int:
    """A large number that depends on these two alone."""
    return int.from_bytes(sha256(f"{about} {domain}".encode()).digest()[:8], "big")


def headcount(domain: str) -> dict[str, Any]:
    """The answer of the product `headcount`."""
    return {"employees": 50 + number(domain, "employees") % 99_950}


def technologies(domain: str) -> dict[str, Any]:
    """The answer of the product `technologies`."""
    return {
        "cms": CMS[number(domain, "cms") % len(CMS)],
        "analytics": ANALYTICS[number(domain, "analytics") % len(ANALYTICS)],
    }


@dataclass(frozen=True)
class Product:
    """What is sold, and what one answer costs. With `by_key`, a key that was answered is known
    again, and costs nothing."""

    answer: Callable[[str], dict[str, Any]]
    price: int
    by_key: bool = False


PRODUCTS = {"headcount": Product(headcount, 1), "technologies": Product(technologies, 3, True)}


@dataclass
class SampleProvider:
    """Answers `GET /PRODUCT?domain=…`; `GET /account` has its own count of the calls."""

    accounts: dict[str, Account] = field(
        default_factory=lambda: {name: Account() for name in PRODUCTS}
    )
    _calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    _keys: set[tuple[str, str]] = field(default_factory=set)

    def account(self) -> Account:
        """The count over all products."""
        each = [asdict(account) for account in self.accounts.values()]
        return Account(**{name: sum(one[name] for one in each) for name in each[0]})

    def app(self) -> web.Application:
        """The server's routes."""
        app = web.Application()
        app.router.add_get("/account", self._show_account)
        app.router.add_get("/{product}", self._sell)
        return app

    async def _show_account(self, _: web.Request) -> web.Response:
        products = {name: asdict(account) for name, account in self.accounts.items()}
        return web.json_response({**asdict(self.account()), "products": products})

    async def _sell(self, request: web.Request) -> web.Response:
        name, domain = request.match_info["product"], request.query.get("domain")
        if name not in PRODUCTS or not domain:
            says = f"ask for /PRODUCT?domain=…; the products are {', '.join(PRODUCTS)}"
            return web.json_response({"error": says}, status=400)
        await asyncio.sleep(LEAST_S + number(domain, f"{name} takes") % 100 / 100 * MORE_S)
        return self._answered(name, domain, request.headers)

    def _answered(self, name: str, domain: str, headers: Mapping[str, str]) -> web.Response:
        product, account = PRODUCTS[name], self.accounts[name]
        account.calls += 1
        self._calls[name, domain] += 1
        key = (name, headers.get(KEY, ""))
        if product.by_key and key in self._keys:
            account.repeated += 1
            return web.json_response(product.answer(domain))
        if self._calls[name, domain] == 1 and (refusal := refused(name, domain)):
            if refusal == 429:
                account.limited += 1
                return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER_S)})
            account.errors += 1
            return web.json_response({"error": "try again later"}, status=500)
        if number(domain, f"{name} is known") % 9 == 0:
            account.unknown += 1
            return web.json_response({"error": "not known"}, status=404)
        account.found += 1
        account.charged += product.price
        if key[1]:
            self._keys.add(key)
        return web.json_response(product.answer(domain))


def refused(name: str, domain: str) -> int | None:
    """With what the first call for a company is refused, None if it is not."""
    return {0: 429, 1: 429, 2: 500}.get(number(domain, f"{name} is refused") % 24)


@contextmanager
def serving(provider: SampleProvider, port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own for the length of the block; gives the URL.

    Raises:
        OSError: the port is taken. 0 is any free port.
    """
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="sample-provider", daemon=True)
    thread.start()
    runner = web.AppRunner(provider.app(), access_log=None, shutdown_timeout=1)

    async def begin() -> str:
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"

    try:
        yield asyncio.run_coroutine_threadsafe(begin(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
