"""A call on its way through a worker process, and what is known of each of its companies."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from reconciler.contract.holds import Hold
from reconciler.contract.limits import Pause
from reconciler.contract.orders import Buying, KeptAnswer, Receipt
from reconciler.contract.results import StepResult
from reconciler.contract.worker_store import Attempt, Failure
from workers.kit import Step

# A function that is over its time-out is given so long to end; then its attempt is given up.
GRACE_S = 10.0


class Verbs(Protocol):
    """The workers' verbs: see `WorkerStore`, whose they are."""

    def begin(
        self,
        step_name: str,
        company_ids: Sequence[int],
        call_id: str | None,
        inputs: Mapping[str, type[StepResult]],
        *,
        alone: bool = False,
        buying: Buying | None = None,
    ) -> list[Attempt]: ...

    def send(self, attempts: Sequence[Attempt]) -> dict[UUID, int]: ...

    def receive(self, receipts: Sequence[Receipt]) -> None: ...

    def kept(self, order_ids: Sequence[UUID]) -> dict[UUID, list[KeptAnswer]]: ...

    def new_times(self, provider: str, calls: int) -> list[float]: ...

    def pause_provider(self, provider: str, pause: Pause) -> None: ...

    def note_recovered(self, provider: str) -> None: ...

    def are_suspect(self, step_name: str, company_ids: Sequence[int]) -> bool: ...

    def lacks(
        self, table: type[StepResult], inputs: Sequence[type[StepResult]] = ()
    ) -> str | None: ...

    def hold(self, step_name: str, hold: Hold) -> bool: ...

    def is_held(self, step_name: str) -> bool: ...

    def release(self, step_name: str, company_ids: Sequence[int]) -> int: ...

    def release_begun(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]: ...

    def heartbeat(self, attempts: Sequence[Attempt]) -> set[tuple[str, int]]: ...

    def complete(
        self,
        attempts: Sequence[Attempt],
        results: Sequence[StepResult],
        version: str | None = None,
    ) -> set[tuple[str, int]]: ...

    def fail(
        self, attempts: Sequence[Attempt], failures: Sequence[Failure]
    ) -> set[tuple[str, int]]: ...


@dataclass
class WorkReport:
    """What became of one call's companies.

    `failed` are all that ended without a result. `stale`: the attempt was no longer this worker's.
    `left_behind`: functions that hang, which nothing but the end of this process ends.
    """

    begun: int = 0
    completed: int = 0
    failed: int = 0
    stale: int = 0
    left_behind: int = 0


@dataclass(eq=False)
class Call:
    """One spawned call: a step and its companies. `done` gives the report, or what went wrong."""

    step: Step
    company_ids: list[int]
    call_id: str | None = None
    done: "Future[WorkReport]" = field(default_factory=Future)
    report: WorkReport = field(default_factory=WorkReport)
    stopped: bool = False
    alone: bool = False  # nothing else of the process may run beside it
    open: int = 0  # attempts of which the outcome is not written yet
    _turn: Lock = field(default_factory=Lock)

    def begun(self, attempts: int) -> None:
        """Note how many attempts it has."""
        self.report.begun = self.open = attempts
        self.settle(0)

    def settle(self, attempts: int, **counts: int) -> None:
        """Note that so many attempts need nothing more, and add to the report's counts.

        The last one ends the call.
        """
        with self._turn:
            for name, count in counts.items():
                setattr(self.report, name, getattr(self.report, name) + count)
            self.open -= attempts
            ended = not self.open
        if ended and not self.done.done():
            self.done.set_result(self.report)

    def give_up(self, error: BaseException) -> None:
        """End the call: what is not written is left to its lease."""
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False)
class Turn:
    """One attempt in this process. `since` is when its function was called, monotonic.

    `goes_at`: when its call may go out, monotonic, where its provider has limits.
    `inputs` are the earlier results that the function gets, by its parameters' names. `kept` are
    the answers that its order has.
    """

    attempt: Attempt
    call: Call
    inputs: dict[str, Any] = field(default_factory=dict)
    kept: Sequence[KeptAnswer] = ()
    since: float | None = None
    goes_at: float | None = field(init=False)
    key: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Its key: step and company, of which one at a time is in flight."""
        self.key = self.attempt.step_name, self.attempt.company.id
        wait_s = self.attempt.order.wait_s if self.attempt.order else None
        self.goes_at = None if wait_s is None else monotonic() + wait_s

    @property
    def bought_by(self) -> list[tuple[int, str]]:
        """The calls whose answers are kept for it."""
        return [(kept.number, str(kept.call)) for kept in self.kept]

    @property
    def goes_with(self) -> tuple[object, ...]:
        """What one call of a bulk step has in common: its time, and the answers that it has.

        What has an answer is not asked for again beside what has none.
        """
        return self.bought_by, self.slot

    @property
    def slot(self) -> str | None:
        """The time that the claim has given its call, None where its provider has no limits."""
        return self.attempt.order.slot if self.attempt.order else None

    @property
    def wait_s(self) -> float:
        """Seconds until its call may go out, below 0 where it is late; 0 if it need not wait."""
        return 0.0 if self.goes_at is None or self.kept else self.goes_at - monotonic()

    @property
    def running_s(self) -> float:
        """Seconds since its function was called; 0 before."""
        return 0.0 if self.since is None else monotonic() - self.since

    def overdue(self, by_s: float = 0.0) -> bool:
        """Whether its function has run for its time-out and `by_s` seconds more."""
        return self.running_s > self.call.step.timeout_s + by_s


def start_clocks(turns: Iterable[Turn]) -> None:
    """Note that the function is called for these now."""
    now = monotonic()
    for turn in turns:
        turn.since = now
