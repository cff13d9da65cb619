"""A state machine over all verbs: any side does anything, at once with others, late or twice."""

from datetime import timedelta

from hypothesis.stateful import initialize

from reconciler.contract.states import BatchStatus
from reconciler.operator.seeding.route import read_route
from reconciler.spawners.protocol import Spawned
from reconciler.tick import tick
from tests.system.machine.conductors import Conductors, Spoken
from tests.system.machine.draws import plantings, starts
from tests.system.machine.model import RESULTS, check_reasons, read
from tests.system.machine.operators import Operators, Time
from tests.system.machine.sides import line
from tests.system.machine.workers import Workers

TICKS = 14  # within which all that runs has ended, when all are honest
HONEST = """
UPDATE batches SET paused = false;
UPDATE enrichment_registry SET enabled = true, max_in_flight = 100, chunk_size = 100;
DELETE FROM throttles
"""
# What workers report first, by the stage at which a run starts.
REPORTS = {"completed": "complete", "missed": "miss", "failed": "fail for good"}
RUNNING = "SELECT id FROM batches WHERE status = 'RUNNING' LIMIT 1"


class Interleavings(Conductors, Workers, Operators, Time):
    """All verbs of the design, by two conductors, two workers and two operators."""

    @initialize(batches=plantings, start=starts)
    def start(
        self, batches: list[tuple[list[str], list[str], int]], start: tuple[str, str]
    ) -> None:
        """A world in which something is under way; all of it by the verbs themselves."""
        self.plant(batches)
        stage, opening = start
        verb, _, again = stage.partition(" ")
        if again:
            self.tune(0, read_route(batches[0][1]).steps[0], {"max_in_flight": 9}, "at once")
        for turn in range(2 if again else 1):
            if turn:
                self.time_passes(None)
            if verb != "seeded":
                self.tick(0, [Spawned("fc-1")], timedelta(0))
            if verb in ("begun", *REPORTS):
                self.begin(turn, 0, [1, 2, 3, 4], "at once")
        if verb in REPORTS:
            self.report(0, 0, 4, REPORTS[verb], "at once")
        self.open(opening)

    def open(self, verb: str) -> None:
        """Do a verb in a transaction that stays open, and commits."""
        if verb == "claim":
            self.claim(1, timedelta(0), "later")
        elif verb in ("advance", "finish"):
            self.sweep(1, verb, timedelta(0), "later")
        elif verb in ("complete", "heartbeat"):
            self.report(1, 0, 2, verb, "later")
        elif verb:
            self.steer(1, 0, verb, "later")

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
            for one in attempts:
                self.put(one, "0")
