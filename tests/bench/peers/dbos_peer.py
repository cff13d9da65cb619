"""The work on DBOS; runs in its environment: see `programs.py` for the words it answers to.

A company is a workflow of three steps; DBOS keeps each step's outcome, and after a crash passes
over what is done.
"""

import asyncio
import json
import os
import sys
import threading

import sqlalchemy
from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSClient, SQLAlchemyDatasource
from psycopg_pool import ConnectionPool

URL = os.environ["DATABASE_URL"]
SETTINGS = json.loads(os.environ["PEER_SETTINGS"])
STEPS = (1, 2, 3)
QUEUE = "companies"
VERSION = "1"  # that of the code which enqueues and of that which works
WRITE = """
INSERT INTO bench_results (company_id, step, value) VALUES ({}, {}, {})
ON CONFLICT (company_id, step) DO UPDATE
SET value = excluded.value, at = excluded.at, writes = bench_results.writes + 1
"""
NAMED = sqlalchemy.text(WRITE.format(":company_id", ":step", ":value"))
POOL = {"pool_size": SETTINGS["pool"], "max_overflow": 0}


def steps() -> None:
    """Ordinary steps, on threads; each writes its result, then DBOS the step's outcome."""
    write, size = WRITE.format("%s", "%s", "%s"), SETTINGS["threads"]
    pool = ConnectionPool(URL, min_size=size, max_size=size, kwargs={"autocommit": True}, open=True)

    @DBOS.step()
    def one_step(company_id: int, number: int) -> None:
        with pool.connection() as connection:
            connection.execute(write, (company_id, number, f"company {company_id}"))

    @DBOS.workflow(name="company")
    def company(company_id: int) -> None:
        for number in STEPS:
            one_step(company_id, number)


def datasource() -> None:
    """The result and the step's outcome in one transaction, on threads."""
    source = SQLAlchemyDatasource.create(URL, engine_kwargs=POOL)

    @source.transaction(isolation_level="READ COMMITTED")
    def one_step(company_id: int, number: int) -> None:
        values = {"company_id": company_id, "step": number, "value": f"company {company_id}"}
        source.sql_session().execute(NAMED, values)

    @DBOS.workflow(name="company")
    def company(company_id: int) -> None:
        for number in STEPS:
            one_step(company_id, number)


def loop() -> None:
    """The same with coroutines, on DBOS's event loop."""
    source = asyncio.run(AsyncSQLAlchemyDatasource.create(URL, engine_kwargs=POOL))

    @source.transaction(isolation_level="READ COMMITTED")
    async def one_step(company_id: int, number: int) -> None:
        values = {"company_id": company_id, "step": number, "value": f"company {company_id}"}
        await source.sql_session().execute(NAMED, values)

    @DBOS.workflow(name="company")
    async def company(company_id: int) -> None:
        for number in STEPS:
            await one_step(company_id, number)


def launch() -> None:
    """DBOS, with the workflow in the style that was asked for."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": URL,
            "application_version": VERSION,
            "executor_id": f"worker-{os.getpid()}",
            "sys_db_pool_size": SETTINGS["pool"],
            "max_executor_threads": SETTINGS["threads"],
            "log_level": "WARNING",
        }
    )
    {"steps": steps, "datasource": datasource, "loop": loop}[SETTINGS["style"]]()
    DBOS.launch()


def install() -> None:
    """The schema and the queue."""
    launch()
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=SETTINGS["concurrency"],
        polling_interval_sec=SETTINGS["polling_s"],
    )
    DBOS.destroy()


def enqueue(first: int, last: int) -> None:
    """All companies in one transaction, once told to."""
    client = DBOSClient(system_database_url=URL)
    engine = sqlalchemy.create_engine(URL.replace("postgresql:", "postgresql+psycopg:", 1))
    options = {"workflow_name": "company", "queue_name": QUEUE, "app_version": VERSION}
    with engine.connect() as connection:
        say("ready")
        sys.stdin.readline()
        for company_id in range(first, last + 1):
            client.enqueue_in_transaction(connection, options, company_id)
        connection.commit()
        say("done")
        sys.stdin.readline()


def work() -> None:
    """A worker process, until it is ended."""
    launch()
    say("ready")
    threading.Event().wait()


def say(word: str) -> None:
    """Tell the runner."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *numbers = sys.argv[1:]
    roles = {"install": install, "enqueue": enqueue, "work": work}
    roles[role](*map(int, numbers))
