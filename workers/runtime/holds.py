"""Holds a step that is at fault for every company, instead of trying it with each of them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from reconciler.contract.errors import NotAllowed
from reconciler.contract.holds import Hold, HoldKind, Unloaded
from reconciler.contract.secrets import MissingSecret, lacking_secrets
from reconciler.contract.worker_store import WorkerStore
from workers.kit import Step
from workers.runtime.calls import Verbs

log = logging.getLogger("tracer.worker")


def note_loaded(store: WorkerStore, loaded: Iterable[str], unloaded: Sequence[Unloaded]) -> None:
    """Hold the steps that this process cannot load, and let those go on that it can."""
    for step, why in store.note_loaded(loaded, unloaded).items():
        if why:
            log.warning("%s is held: %s", step, why)
        else:
            log.warning("%s goes on: it can be loaded again", step)


class Holds:
    """What a worker process knows of its steps' tables, and the holds that it writes.

    Whether a step is held is in the database: `begin` takes nothing of one that is.
    """

    def __init__(self, store: Verbs) -> None:
        self._store = store
        self._fit: set[str] = set()  # steps whose tables have been seen to fit
        self._lanes: dict[str, Callable[[], object]] = {}
        self._turn = Lock()

    def on_hold(self, step: Step, let_go: Callable[[], object]) -> None:
        """Have `let_go` called when this process holds the step."""
        self._lanes[step.name] = let_go

    def check(self, step: Step) -> bool:
        """Hold the step if something that it needs is missing; whether nothing is.

        It asks the database once per step and process, and again after a fault.
        """
        if step.name in self._fit:
            return True
        with self._turn:
            hold = self._fault(step)
        if hold:
            self.hold(step, hold)
            return False
        self._fit.add(step.name)
        return True

    def is_at_fault(self, step: Step, error: Exception) -> bool:
        """Whether the database has refused a statement because of the step; it is held then."""
        if isinstance(error, NotAllowed):
            self.hold(step, Hold(HoldKind.GRANT, error.says))
            return True
        self._fit.discard(step.name)
        return not self.check(step)

    def hold(self, step: Step, hold: Hold) -> None:
        """Hold the step, and let go of what this process has taken of it and not begun to work."""
        self._fit.discard(step.name)
        if self._store.hold(step.name, hold):
            log.warning("%s is held: %s", step.name, hold.reason)
        if let_go := self._lanes.get(step.name):
            let_go()

    def _fault(self, step: Step) -> Hold | None:
        if missing := lacking_secrets(step.env):
            return Hold(HoldKind.SECRET, str(MissingSecret(", ".join(missing))))
        inputs = [wanted.table for wanted in step.inputs]
        try:
            lacks = self._store.lacks(step.table, inputs)
        except NotAllowed as error:  # the schema of all domain tables
            return Hold(HoldKind.GRANT, error.says)
        return Hold(HoldKind.TABLE, lacks) if lacks else None
