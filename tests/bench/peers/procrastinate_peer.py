"""The work on procrastinate; runs in its environment: see `programs.py` for the words it hears."""

import json
import os
import sys
from typing import Any

import uvloop
from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

URL = os.environ["DATABASE_URL"]
SETTINGS = json.loads(os.environ["PEER_SETTINGS"])
STEPS = (1, 2, 3)
POOL = SETTINGS["concurrency"] + 1
WRITE = """
INSERT INTO bench_results (company_id, step, value) VALUES (%s, %s, %s)
ON CONFLICT (company_id, step) DO UPDATE
SET value = excluded.value, at = excluded.at, writes = bench_results.writes + 1
"""


async def autocommit(connection: AsyncConnection) -> None:
    """No transaction around a single statement: two round trips less."""
    await connection.set_autocommit(True)


def pool(check: Any, **arguments: Any) -> AsyncConnectionPool:  # noqa: ARG001
    """Without procrastinate's check of a connection at every loan: another round trip less."""
    return AsyncConnectionPool(**arguments, configure=autocommit)


app = App(connector=PsycopgConnector(conninfo=URL, min_size=POOL, max_size=POOL, pool_factory=pool))


async def step(company_id: int) -> str:
    """What a step does: nothing."""
    return f"company {company_id}"


@app.task(name="one_step")
async def one_step(company_id: int, number: int) -> None:
    """A job per step: its result and the next step's job in one transaction."""
    value = await step(company_id)
    async with app.connector.pool.connection() as connection, connection.transaction():
        await connection.execute(WRITE, (company_id, number, value))
        if number < STEPS[-1]:
            following = one_step.configure(connection=connection)
            await following.defer_async(company_id=company_id, number=number + 1)


@app.task(name="whole_company")
async def whole_company(company_id: int) -> None:
    """A job per company, which passes over the steps that an earlier attempt has done."""
    query = "SELECT step FROM bench_results WHERE company_id = %s"
    async with app.connector.pool.connection() as connection:
        found = await (await connection.execute(query, (company_id,))).fetchall()
        done = {number for (number,) in found}
        for number in STEPS:
            if number not in done:
                await connection.execute(WRITE, (company_id, number, await step(company_id)))


async def install() -> None:
    """The schema."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def enqueue(first: int, last: int) -> None:
    """All companies in one statement, once told to."""
    companies = range(first, last + 1)
    async with app.open_async():
        say("ready")
        sys.stdin.readline()
        if SETTINGS["shape"] == "chain":
            await one_step.batch_defer_async(*({"company_id": i, "number": 1} for i in companies))
        else:
            await whole_company.batch_defer_async(*({"company_id": i} for i in companies))
        say("done")
        sys.stdin.readline()


async def work() -> None:
    """A worker process, until it is ended."""
    async with app.open_async():
        say("ready")
        await app.run_worker_async(
            concurrency=SETTINGS["concurrency"], delete_jobs=SETTINGS["delete_jobs"]
        )


def say(word: str) -> None:
    """Tell the runner."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    roles = {"install": install, "enqueue": enqueue, "work": work}
    uvloop.run(roles[role](*map(int, numbers)))
