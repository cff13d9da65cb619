"""The steps of this benchmark: one that asks the API, and chains of three that do nothing."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from workers.kit import Company, Paid, StepResult, resource, step

SETTINGS = json.loads(os.environ["PEER_SETTINGS"])
CONCURRENCY = SETTINGS["concurrency"]
NAP_S = 0.005


class Known(StepResult):
    """What the tables have in common: what the API knows of a company."""

    country: str
    industry: str
    employees: int


class Asked(Known, table=True):
    """From the step that asks the API."""

    __tablename__ = "asked"


class Watched(Known, table=True):
    """From the same step, which has its event loop watched."""

    __tablename__ = "watched"


class Plain1(Known, table=True):
    """Of the chain without inputs."""

    __tablename__ = "plain_1"


class Plain2(Known, table=True):
    """Of the chain without inputs."""

    __tablename__ = "plain_2"


class Plain3(Known, table=True):
    """Of the chain without inputs."""

    __tablename__ = "plain_3"


class Typed1(Known, table=True):
    """Of the chain in which each step takes the result before."""

    __tablename__ = "typed_1"


class Typed2(Known, table=True):
    """Of the chain in which each step takes the result before."""

    __tablename__ = "typed_2"


class Typed3(Known, table=True):
    """Of the chain in which each step takes the result before."""

    __tablename__ = "typed_3"


class Bought(Known, table=True):
    """Of the step that buys what the plain one makes."""

    __tablename__ = "bought"


class ByResult(Known, table=True):
    """Of the step whose result stands for the answer that it bought."""

    __tablename__ = "by_result"


class Watch:
    """Notes for how long the event loop has let a nap wait, and writes it down when it was long."""

    def __init__(self, note: Path) -> None:
        self._note = note
        self._worst: dict[str, float] = {"blocked_ms": 0.0}

    async def run(self) -> None:
        """Nap, and look at how late one was woken: all other tasks have waited for so long too.

        `thread_ms` of it the loop's own thread was busy, `process_ms` all threads of the process;
        the rest of the time other programs had the machine.
        """
        while True:
            before = time.monotonic(), time.thread_time(), time.process_time()
            await asyncio.sleep(NAP_S)
            after = time.monotonic(), time.thread_time(), time.process_time()
            whole, thread, process = (b - a for a, b in zip(before, after, strict=True))
            late_ms = 1000 * (whole - NAP_S)
            if late_ms > self._worst["blocked_ms"]:
                busy = {"thread_ms": 1000 * thread, "process_ms": 1000 * process}
                self._worst = {"blocked_ms": late_ms, **busy}
                self._note.write_text(json.dumps(self._worst))


@resource
async def watch() -> AsyncIterator[Watch]:
    """A watch of this process's event loop, from its first call on."""
    made = Watch(Path(SETTINGS["note"]))
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()


async def ask(company: Company, http: aiohttp.ClientSession) -> dict[str, Any]:
    """What the API says of the company."""
    async with http.get(f"{SETTINGS['api']}/companies/{company.id}") as answer:
        found: dict[str, Any] = await answer.json()
        return found


@step(concurrency=CONCURRENCY)
async def asked(company: Company, http: aiohttp.ClientSession) -> Asked:
    """Ask the API."""
    return Asked(**await ask(company, http))


@step(concurrency=CONCURRENCY)
async def watched(
    company: Company,
    http: aiohttp.ClientSession,
    watch: Watch,  # noqa: ARG001 - it need only be open
) -> Watched:
    """Ask the API, in a process that is watched."""
    return Watched(**await ask(company, http))


@step(concurrency=CONCURRENCY)
async def plain_1(company: Company) -> Plain1:
    """Return a row."""
    return Plain1(country="CH", industry="Software", employees=len(company.key))


@step(concurrency=CONCURRENCY)
async def plain_2(company: Company) -> Plain2:
    """Return a row."""
    return Plain2(country="CH", industry="Software", employees=len(company.key) + 1)


@step(concurrency=CONCURRENCY)
async def plain_3(company: Company) -> Plain3:
    """Return a row."""
    return Plain3(country="CH", industry="Software", employees=len(company.key) + 2)


@step(concurrency=CONCURRENCY)
async def typed_1(company: Company) -> Typed1:
    """Return a row."""
    return Typed1(country="CH", industry="Software", employees=len(company.key))


@step(concurrency=CONCURRENCY)
async def typed_2(company: Company, before: Typed1) -> Typed2:  # noqa: ARG001
    """Return a row, made of the one before."""
    return Typed2(country=before.country, industry=before.industry, employees=before.employees + 1)


@step(concurrency=CONCURRENCY)
async def typed_3(company: Company, before: Typed2) -> Typed3:  # noqa: ARG001
    """Return a row, made of the one before."""
    return Typed3(country=before.country, industry=before.industry, employees=before.employees + 1)


async def sell(request: str) -> dict[str, Any]:
    """What a provider would answer."""
    return {"country": "CH", "industry": "Software", "employees": len(request)}


@step(concurrency=CONCURRENCY, provider="seller", price=1, recall="key", fresh_for="90d")
async def bought(company: Company, paid: Paid) -> Bought:
    """Return the row of `plain_1`, bought."""
    return Bought(**(await paid.call(sell, company.key)).json())


@step(concurrency=CONCURRENCY, provider="seller", price=1, fresh_for="90d")
async def by_result(company: Company) -> ByResult:
    """Return the row of `plain_1`, which is taken for bought."""
    return ByResult(country="CH", industry="Software", employees=len(company.key))
