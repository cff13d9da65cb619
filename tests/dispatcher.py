"""A tick that dispatches to a control plane: both sides, and what tests say of them."""

import time
from dataclasses import dataclass

from reconciler.spawners.modal import ModalSpawner
from reconciler.tick import TickReport, tick
from tests.controlplane.execution import InProcess
from tests.controlplane.plane import ControlPlane
from tests.world import World

BOUND_S = 1.0  # of a dispatch, so that tests need not wait for the ten seconds of production


@dataclass
class Dispatcher:
    """A database and a spawner that speaks to the control plane."""

    world: World
    plane: ControlPlane
    spawner: ModalSpawner

    def tick(self) -> TickReport:
        return tick(self.world.store, self.spawner, self.world.store.now())

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
