"""The artifact of a run in Prefect's UI: a table of the batches, with names and counts only."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import httpx
import psycopg
from prefect import get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectException

from reconciler.contract.database import Row
from reconciler.contract.errors import TracerError
from reconciler.contract.outage import first_line
from reconciler.contract.store import Store
from reconciler.prefect.overview import held_back, overview

KEY = "tracer-batches"  # the same for all runs: each run's artifact is a version of the last one
FIRST_S, EVERY_S = 2.0, 60.0
WITHIN_S = 5.0  # Prefect gives a run 10 s to stop, for all that it still has to do
AWAY_ERRORS = (TracerError, psycopg.Error, httpx.HTTPError, PrefectException, TimeoutError)


class BatchTable:
    """The table artifact of one flow run: created once, then updated.

    It has its own connections and runs beside the ticks. If Prefect's API or the database is away,
    it logs that once, and the run goes on.
    """

    def __init__(self, url: str, log: Callable[[str], None]) -> None:
        self._url = url
        self._log = log
        self._artifact: UUID | None = None
        self._missed = False

    @asynccontextmanager
    async def kept_current(self) -> AsyncIterator[None]:
        """Write the table after `FIRST_S`, then every `EVERY_S` seconds until the block ends."""
        ended = asyncio.Event()
        keeping = asyncio.create_task(self._keep(ended))
        try:
            yield
        finally:
            ended.set()
            await keeping

    async def write(self, line: str) -> None:
        """Write the batches as they are now, below `line` and what providers hold back."""
        try:
            async with asyncio.timeout(WITHIN_S):
                rows, waits = await asyncio.to_thread(_read, self._url)
                await self._put(rows, "\n\n".join([line, *waits]))
        except AWAY_ERRORS as error:
            if not self._missed:
                self._log(f"The table {KEY} is not up to date: {first_line(error)}")
            self._missed = True
        else:
            self._missed = False

    async def _keep(self, ended: asyncio.Event) -> None:
        wait_s = FIRST_S  # a run that leaves at once writes only at its end
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), wait_s)
            if ended.is_set():
                return
            await self.write("This run is at work.")
            wait_s = EVERY_S

    async def _put(self, rows: list[Row], line: str) -> None:
        if self._artifact is None:
            self._artifact = await acreate_table_artifact(rows, KEY, line)
            return
        async with get_client() as client:
            change = ArtifactUpdate(data=json.dumps(rows), description=line)
            await client.update_artifact(self._artifact, change)


def _read(url: str) -> tuple[list[Row], list[str]]:
    with Store.connect(url, max_size=1) as store:
        rows = overview(store)
        return rows, held_back(store, rows)
