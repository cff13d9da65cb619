"""The words in which tests speak: seed some companies, tick, look at the rows."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from reconciler.contract.claimed import Chunk, Room
from reconciler.contract.results import Company
from reconciler.contract.states import TERMINAL
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.operator.seeding.batch import FREELY, Spending, seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.spawners.protocol import Answer, Outcome, Spawned, Unanswered
from reconciler.tick import TickReport, tick
from workers.kit import Step
from workers.runtime.calls import WorkReport
from workers.runtime.loading import load_steps
from workers.runtime.runtime import Runtime

STEPS = load_steps()


def doing(function: Callable[[Company], object], step: str = "normalize", **changes: Any) -> Step:
    """The bundled step with another function: what a user's own could do."""
    return replace(STEPS[step], function=function, **changes)  # type: ignore[arg-type]


def work(
    store: WorkerStore, step: Step, company_ids: Sequence[int], call_id: str | None = None
) -> WorkReport:
    """One call, in a worker process of its own as it were."""
    with closing(Runtime(store)) as runtime:
        return runtime.submit(step, company_ids, call_id).done.result()


def wait_until(true: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def chunk_of(
    step: str = "normalize",
    company_ids: Sequence[int] = (1,),
    batch_id: int = 1,
    attempt: int = 1,
    **changes: Any,
) -> Chunk:
    """A claimed chunk as the tick has it, with the registry's defaults."""
    size = len(company_ids)
    values: dict[str, Any] = {
        "step_name": step,
        "app_name": "tracer",
        "function_name": step,
        "chunk_size": 100,
        "backoff_s": 1,
        "backoff_max_s": 1,
        "max_waiting": 10,
        "provider": None,
        "price": Decimal(0),
        "has_orders": False,
        "allowance": None,
        "refusals": 0,
        "company_ids": list(company_ids),
        "batch_ids": [batch_id] * size,
        "attempts": [attempt] * size,
    }
    return Chunk(**values | changes)


@dataclass
class Scripted:
    """A spawner that starts nothing, remembers what it was asked, and answers as it was told."""

    answer: Outcome = field(default_factory=Spawned)
    asked: list[Chunk] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        self.asked += chunks
        return [self.answer for _ in chunks]

    def room(self) -> Room:
        return Room()

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:  # noqa: ARG002
        return []

    def close(self) -> None:
        pass

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        self.cancelled += call_ids
        return list(call_ids)


@dataclass
class World:
    """All sides of one database."""

    store: Store
    worker: WorkerStore
    operator: OperatorStore
    spawner: Scripted = field(default_factory=Scripted)

    def seed(
        self,
        companies: int | Sequence[str],
        blueprint: Sequence[str] = ("normalize",),
        name: str = "batch",
        priority: int = 0,
        spending: Spending = FREELY,
    ) -> str:
        """A batch of that many companies, or of those keys; returns its name."""
        if isinstance(companies, int):
            companies = [f"company-{i}" for i in range(companies)]
        rows = [
            (line, key, f"{key} Inc.", f"{key}.example.com", {"Given": key})
            for line, key in enumerate(companies, 2)
        ]
        seeded = seed_batch(
            self.operator,
            rows,
            name=name,
            blueprint=blueprint,
            columns=["Given"],
            priority=priority,
            spending=spending,
        )
        return seeded.batch

    def claimed(self, companies: int = 3) -> None:
        """A batch of which every company is claimed."""
        self.seed(companies)
        self.tick()

    def tick(self, now: datetime | None = None) -> TickReport:
        """One tick, at `now` or by Postgres's clock."""
        return tick(self.store, self.spawner, now or self.store.now())

    def work(self, step: Step | str = "normalize", ids: Sequence[int] | None = None) -> WorkReport:
        """Do as a worker: all companies' worth of one step unless `ids` says which."""
        step = STEPS[step] if isinstance(step, str) else step
        return work(self.worker, step, self.ids() if ids is None else ids)

    def ids(self) -> list[int]:
        """Every company's id."""
        return [row["id"] for row in self.sql("SELECT id FROM companies ORDER BY id")]

    def rows(self, where: str = "true", **values: Any) -> list[dict[str, Any]]:
        """Rows of `workflow_states`, in a fixed order."""
        order = "ORDER BY batch_id, position, company_id"
        return self.sql(f"SELECT * FROM workflow_states WHERE {where} {order}", **values)

    def statuses(self) -> dict[str, int]:
        """How many rows are in each status."""
        found = self.sql("SELECT status, count(*) AS n FROM workflow_states GROUP BY status")
        return {row["status"]: row["n"] for row in found}

    def sql(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Any statement, as the owner of the database."""
        return self.operator.rows(query, **values)

    def wait_for_blocked(self) -> None:
        """Return once some connection to this database waits for a lock of another."""
        blocked = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 10
        while not self.sql(blocked):
            assert time.monotonic() < deadline, "nothing waits"


def finish(world: World) -> None:
    """All that there is to do, of the bundled steps."""
    while world.tick() or world.statuses().keys() - set(TERMINAL):
        for step in ("normalize", "step_a", "step_b"):
            world.work(step)
