"""A tick that dispatches to a control plane: both sides, and what tests say of them."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.dispatch import wait_for_answers
from reconciler.spawners.modal import ModalSpawner
from reconciler.tick import TickReport, tick
from tests.standins.controlplane.execution import InProcess
from tests.standins.controlplane.plane import ControlPlane
from tests.world import World

BOUND_S = 1.0  # of a dispatch, so that tests need not wait for the ten seconds of production


@dataclass
class Dispatcher:
    """A database and a spawner that speaks to the control plane."""

    world: World
    plane: ControlPlane
    spawner: ModalSpawner

    def tick(self, now: datetime | None = None) -> TickReport:
        """A tick with all of its answers, as `reconcile --once` has it."""
        store, moment = self.world.store, now or self.world.store.now()
        report = tick(store, self.spawner, moment)
        return report.with_late(wait_for_answers(store, self.spawner, moment))

    @contextmanager
    def within(self, timeout_s: float) -> Iterator["Dispatcher"]:
        """The same with another time-out, and nothing looked up yet."""
        with closing(ModalSpawner(timeout_s)) as spawner:
            yield replace(self, spawner=spawner)

    def timed(self) -> tuple[TickReport, float]:
        started = time.monotonic()
        return self.tick(), time.monotonic() - started

    def work(self) -> None:
        """Have everything that was spawned executed, in this process."""
        self.plane.run_with(InProcess())
        assert self.plane.until(lambda: all(call.done for call in self.plane.calls))
        self.plane.run_with(None)
        assert all(call.succeeded for call in self.plane.calls)

    def spawned(self, step: str) -> list[list[int]]:
        return [call.company_ids for call in self.plane.calls if call.function == step]
