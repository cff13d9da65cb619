"""The work on pgqueuer, in its environment: see `peers/programs.py` for the words it answers to."""

import json
import os
import sys

import aiohttp
import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job

URL = os.environ["DATABASE_URL"]
SETTINGS = json.loads(os.environ["PEER_SETTINGS"])
WRITTEN = """
CREATE TABLE bench_written (
    company_id bigint, step text, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    country text, industry text, employees int, PRIMARY KEY (company_id, step)
)
"""
WRITE = """
INSERT INTO bench_written (company_id, step, country, industry, employees)
VALUES ($1, 'asked', $2, $3, $4)
ON CONFLICT (company_id, step) DO UPDATE SET at = excluded.at, country = excluded.country,
    industry = excluded.industry, employees = excluded.employees
"""


async def install() -> None:
    """The schema, the autovacuum settings that its tuning guide asks for, a table of results."""
    connection = await asyncpg.connect(URL)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.execute(WRITTEN)
    await connection.close()


async def enqueue(first: int, last: int) -> None:
    """All companies in one statement, once told to."""
    connection = await asyncpg.connect(URL)
    payloads = [str(i).encode() for i in range(first, last + 1)]
    jobs = ["asked"] * len(payloads), payloads, [0] * len(payloads)
    say("ready")
    sys.stdin.readline()
    await Queries(AsyncpgDriver(connection)).enqueue(*jobs)
    await connection.close()
    say("done")
    sys.stdin.readline()


async def work() -> None:
    """A worker process, until it is ended."""
    size = SETTINGS["pool"]
    pool = await asyncpg.create_pool(URL, min_size=size, max_size=size)
    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        queuer.entrypoint("asked")(asked(pool, http))
        say("ready")
        await queuer.run(
            batch_size=SETTINGS["batch_size"], max_concurrent_tasks=SETTINGS["max_in_flight"]
        )


def asked(pool: asyncpg.Pool, http: aiohttp.ClientSession):
    """The job: ask the API, write the row."""

    async def run(job: Job) -> None:
        company_id = int(job.payload)
        async with http.get(f"{SETTINGS['api']}/companies/{company_id}") as answer:
            known = await answer.json()
        values = known["country"], known["industry"], known["employees"]
        await pool.execute(WRITE, company_id, *values)

    return run


def say(word: str) -> None:
    """Tell the runner."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    roles = {"install": install, "enqueue": enqueue, "work": work}
    uvloop.run(roles[role](*map(int, numbers)))
