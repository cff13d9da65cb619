"""The work on pgqueuer; runs in its environment: see `programs.py` for the words it answers to."""

import json
import os
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job

URL = os.environ["DATABASE_URL"]
SETTINGS = json.loads(os.environ["PEER_SETTINGS"])
STEPS = (1, 2, 3)
WRITE = """
INSERT INTO bench_results (company_id, step, value) VALUES ($1, $2, $3)
ON CONFLICT (company_id, step) DO UPDATE
SET value = excluded.value, at = excluded.at, writes = bench_results.writes + 1
"""


async def step(company_id: int) -> str:
    """What a step does: nothing."""
    return f"company {company_id}"


async def install() -> None:
    """The schema, and the autovacuum settings that its tuning guide asks for."""
    connection = await asyncpg.connect(URL)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


async def enqueue(first: int, last: int) -> None:
    """All companies in one statement, once told to."""
    connection = await asyncpg.connect(URL)
    queries = Queries(AsyncpgDriver(connection))
    payloads = [str(i).encode() for i in range(first, last + 1)]
    entrypoint = "step_1" if SETTINGS["shape"] == "chain" else "company"
    jobs = [entrypoint] * len(payloads), payloads, [0] * len(payloads)
    say("ready")
    sys.stdin.readline()
    await queries.enqueue(*jobs)
    say("done")
    sys.stdin.readline()
    await connection.close()


async def work() -> None:
    """A worker process, until it is ended."""
    size = SETTINGS["pool"]
    pool = await asyncpg.create_pool(URL, min_size=size, max_size=size)
    if SETTINGS["driver"] == "connection":
        queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))
    else:
        queuer = PgQueuer(AsyncpgPoolDriver(pool))
    if SETTINGS["shape"] == "chain":
        for number in STEPS:
            queuer.entrypoint(f"step_{number}")(one_step(pool, number))
    else:
        queuer.entrypoint("company")(whole_company(pool))
    say("ready")
    await queuer.run(batch_size=SETTINGS["batch_size"])


def one_step(pool: asyncpg.Pool, number: int):
    """A job per step: its result and the next step's job in one transaction."""

    async def run(job: Job) -> None:
        company_id = int(job.payload)
        value = await step(company_id)
        if number == STEPS[-1]:
            await pool.execute(WRITE, company_id, number, value)
            return
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(WRITE, company_id, number, value)
            following = Queries(AsyncpgDriver(connection))
            await following.enqueue(f"step_{number + 1}", job.payload)

    return run


def whole_company(pool: asyncpg.Pool):
    """A job per company, which passes over the steps that an earlier attempt has done."""

    async def run(job: Job) -> None:
        company_id = int(job.payload)
        query = "SELECT step FROM bench_results WHERE company_id = $1"
        async with pool.acquire() as connection:
            done = {row["step"] for row in await connection.fetch(query, company_id)}
            for number in STEPS:
                if number not in done:
                    await connection.execute(WRITE, company_id, number, await step(company_id))

    return run


def say(word: str) -> None:
    """Tell the runner."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    roles = {"install": install, "enqueue": enqueue, "work": work}
    uvloop.run(roles[role](*map(int, numbers)))
