"""A state machine over all verbs: any side does anything, at once with others, late or twice."""

from datetime import timedelta

from hypothesis.stateful import initialize

from reconciler.contract.states import BatchStatus
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.machine.conductors import Conductors, Spoken
from tests.machine.draws import plantings, stages
from tests.machine.model import RESULTS, check_reasons, read
from tests.machine.operators import Operators, Time
from tests.machine.sides import line
from tests.machine.workers import Workers

TICKS = 14  # within which all that runs has ended, when all are honest
HONEST = """
UPDATE batches SET paused = false;
UPDATE enrichment_registry SET enabled = true, max_in_flight = 100, chunk_size = 100;
DELETE FROM throttles
"""
RUNNING = "SELECT id FROM batches WHERE status = 'RUNNING' LIMIT 1"


class Interleavings(Conductors, Workers, Operators, Time):
    """All verbs of the design, by two conductors, two workers and two operators."""

    @initialize(batches=plantings, stage=stages)
    def start(self, batches: list[tuple[list[str], list[str], int]], stage: str) -> None:
        """A world in which something is under way; all of it by the verbs themselves."""
        self.plant(batches)
        if stage != "seeded":
            self.tick(0, [Spawned("fc-1")], timedelta(0))
        if stage in ("begun", "completed", "failed"):
            self.begin(0, 0, None, "at once")
        if stage in ("completed", "failed"):
            self.report(
                0, 0, 2, {"completed": "complete", "failed": "fail for good"}[stage], "at once"
            )

    def teardown(self) -> None:
        """Whatever has happened: with honest sides, every batch ends."""
        if not self.sound:
            return
        while self.held:
            self.settle(self.held[0])
        self.check()
        check_reasons(line(self.sides.eyes).only)
        line(self.sides.eyes).only.execute(HONEST)
        for _ in range(TICKS):
            if not self.sides.eyes.rows(RUNNING):
                break
            self.pass_an_hour()
            self.all_work()
        self.seen = read(line(self.sides.eyes).only)
        self.check()
        left = [row for row in self.seen.batches.values() if row["status"] == BatchStatus.RUNNING]
        assert not left, f"{left} did not end: {self.seen.rows}"

    def all_work(self) -> None:
        """A tick, and workers who do what they are given."""
        spawner, worker = Spoken(), self.sides.workers[0]
        tick(self.sides.stores[0], spawner, self.moment())
        for chunk in spawner.asked:
            attempts = worker.begin(chunk.step_name, chunk.company_ids)
            worker.complete(attempts, [RESULTS[chunk.step_name](0) for _ in attempts])
            self.landed |= {(chunk.step_name, one.company.id): "0" for one in attempts}
