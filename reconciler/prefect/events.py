"""An event in Prefect for each batch that ends: what automations there wait for."""

from collections import Counter
from contextlib import suppress
from datetime import datetime

import psycopg
from prefect.events import emit_event

from reconciler.contract.errors import TracerError
from reconciler.contract.store import Store
from reconciler.prefect.overview import rows_of

FINISHED = "tracer.batch.finished"
RESOURCE = "tracer.batch.{name}"


class AnnouncingStore(Store):
    """The conductor's store in a flow run: batches that it finishes are announced."""

    def finish(self, now: datetime) -> list[int]:
        """See `Store.finish`. An event may be lost, if Prefect or the database goes away just then:
        the batch has ended, and the loop goes on."""
        ended = super().finish(now)
        if ended:
            with suppress(psycopg.Error, TracerError):  # the next tick finds out, and waits
                announce(self, ended)
        return ended


def announce(store: Store, batch_ids: list[int]) -> None:
    """Emit the event of each batch: its name, its companies, its rows by status over all steps.

    It goes out from a thread of Prefect's. Where no server answers, Prefect's log says so.
    """
    for name, steps in rows_of(store, batch_ids).items():
        rows = Counter[str]()
        for step in steps:
            rows.update({k: v for k, v in step.items() if k != "step" and v})
        companies = sum(v for k, v in steps[0].items() if k != "step")
        emit_event(
            FINISHED,
            {"prefect.resource.id": RESOURCE.format(name=name), "prefect.resource.name": name},
            payload={"batch": name, "companies": companies, "rows": dict(rows)},
        )
