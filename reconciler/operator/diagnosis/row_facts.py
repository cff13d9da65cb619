"""What is known of a company's row: from the database, and from outside of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.contract.database import Row
from reconciler.contract.error_kinds import NOT_SPAWNED
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.prefect.schedule import Schedule

COUNTED = 10_001  # rows, at most: "more than 10,000" is as good as the number

# A loop that has not ticked for longer has ended, or the machine that it runs on has. Cron's runs
# come a minute apart, and some a little late.
SILENCE = timedelta(seconds=90)
# With work to do, a loop ticks at the poll interval; a tick itself may take some seconds.
QUIET = timedelta(seconds=5)
# A worker renews its lease after a third of it. After two thirds, that is no chance.
WORKER_SILENT = 2 / 3


@dataclass(frozen=True)
class Observed:
    """What was seen outside of the database; None where nobody asked, or no answer came.

    `prefect` is what keeps Prefect from starting runs, and `schedule` what Prefect said. A call of
    the row's step finds its worker if `workers_ready`; `workers_fault` is what is wrong with them.
    `host_since` is when the local worker host was started.
    """

    prefect: Reason | None = None
    schedule: Schedule | None = None
    workers: str | None = None
    workers_ready: bool | None = None
    workers_fault: Reason | None = None
    host_since: datetime | None = None

    @property
    def workers_fix(self) -> str | None:
        """The command against what is wrong with the workers."""
        return self.workers_fault.fix if self.workers_fault else None

    @property
    def host_gone(self) -> bool:
        """Whether no worker host runs here."""
        return self.workers_fault is not None and self.workers_fault.code == Code.NO_WORKER_HOST

    @property
    def deserted(self) -> bool:
        """Whether nothing that ticks is left here: no Prefect, and no host beside a loop."""
        code = self.prefect.code if self.prefect else None
        return self.host_gone and code in (Code.PREFECT_UNKNOWN, Code.PREFECT_UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """A step as the registry has it; None where it is not registered."""

    step: str
    enabled: bool | None
    max_in_flight: int | None


@dataclass(frozen=True, kw_only=True)
class LoopFacts:
    """The loop; what is of the table `polling` is None where that has no row."""

    polling_paused: bool | None
    ticked_at: datetime | None
    poll_s: float | None
    idle_s: float | None
    now: datetime
    observed: Observed = field(default_factory=Observed)

    @staticmethod
    def of(polling: Row) -> "LoopFacts":
        """From the row of `polling`."""
        return LoopFacts(
            polling_paused=polling["paused"],
            ticked_at=polling["ticked_at"],
            poll_s=polling["poll_s"],
            idle_s=polling["idle_s"],
            now=polling["now"],
        )

    @property
    def silent(self) -> bool:
        """Whether no loop is left that ticks."""
        longest = max(SILENCE, timedelta(seconds=2 * (self.idle_s or 0)))
        return self._untouched_for(longest) or (self.quiet and self.observed.deserted)

    @property
    def quiet(self) -> bool:
        """Whether a loop that has work to do would have ticked by now."""
        return self._untouched_for(max(QUIET, timedelta(seconds=3 * (self.poll_s or 0))))

    def _untouched_for(self, longest: timedelta) -> bool:
        return self.ticked_at is None or self.now - self.ticked_at > longest


@dataclass(frozen=True)
class NextClaim:
    """A row's place in the next claim of its step, as the claim itself counts.

    The claim may take `free` rows of the step. Batches of a higher priority have `higher` rows,
    `highest` is the highest priority that waits, and `room` rows are left after them. Each of the
    `sharing` batches of this row's priority gets `mark` rows, and some get one of the `spare` ones.
    `ahead` rows of its own batch come first. The next tick brings `arriving` rows to the step
    before it claims. The batch `rival` has the same company at the same step, and goes first.
    """

    free: int
    room: int
    mark: int
    spare: int
    higher: int
    highest: int
    sharing: int
    ahead: int
    arriving: int
    rival: str | None


@dataclass(frozen=True, kw_only=True)
class RowFacts(StepFacts, LoopFacts):
    """A company's newest row in a batch, and what can keep it there, as `EXPLAIN` reads it.

    `waiting` rows of the step have long been claimed and not begun.
    """

    number: int
    steps: int
    status: str
    attempt: int
    forgiven: int
    available_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    call_id: str | None
    error: str | None
    error_kind: str | None
    company_id: int
    key: str
    batch_id: int
    batch: str
    batch_status: str
    batch_paused: bool
    priority: int
    app: str | None
    function: str | None
    max_attempts: int | None
    lease_s: float | None
    held_until: datetime | None
    allowance: int | None
    held_because: str | None
    in_flight: int
    waiting: int
    expired: int
    working_batch: str | None
    next_claim: NextClaim | None = None

    @property
    def last(self) -> bool:
        """Whether no step of the blueprint comes after this one."""
        return self.number == self.steps

    @property
    def tries(self) -> int:
        """The attempts that count: an operator's retry forgives those before it."""
        return self.attempt - self.forgiven

    @property
    def attempt_of(self) -> str:
        """The number of the attempt, for a sentence."""
        return f"attempt {self.tries} of {self.max_attempts or '?'}"

    @property
    def not_spawned(self) -> bool:
        """Whether the row's error is about its spawn, and not about its work."""
        return self.error_kind in NOT_SPAWNED

    @property
    def lease_over(self) -> bool:
        """Whether the row's lease has ended."""
        return self.lease_expires_at is not None and self.lease_expires_at <= self.now

    @property
    def throttled(self) -> bool:
        """Whether the step is not spawned for a while."""
        return self.held_until is not None and self.held_until > self.now

    @property
    def worker_silent_since(self) -> datetime | None:
        """When the worker last renewed the lease, if one that lives would have since.

        A lease that seems to have begun before the attempt had another length: `steps set` has
        changed it, and it tells nothing.
        """
        if not (self.lease_expires_at and self.started_at and self.lease_s):
            return None
        beat = self.lease_expires_at - timedelta(seconds=self.lease_s)
        silent = self.now - beat > timedelta(seconds=WORKER_SILENT * self.lease_s)
        return beat if silent and beat >= self.started_at - timedelta(seconds=1) else None
