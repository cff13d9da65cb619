"""The facts about a company's row: from the database, from Prefect and from the workers."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.database import Row
from reconciler.contract.error_kinds import NOT_SPAWNED
from reconciler.contract.states import ADVANCING, Status
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.money.full import FullCap
from reconciler.prefect.schedule import Schedule
from reconciler.provider_state import ProviderState

COUNTED = 10_001  # rows are counted up to this: people need no more than "more than 10,000"

# After this long without a tick, the loop or its machine has ended. Cron starts a run every minute,
# sometimes a little late.
SILENCE = timedelta(seconds=90)
# A loop with work ticks at the poll interval. A tick itself may take some seconds.
QUIET = timedelta(seconds=5)
# Share of the lease. A worker renews its lease after a third: after two thirds it is not just late.
WORKER_SILENT = 2 / 3


@dataclass(frozen=True)
class Observed:
    """The answers of Prefect and of the workers; None means not asked, or no answer.

    - `prefect`: why Prefect starts no run.
    - `schedule`: the schedule as Prefect has it.
    - `workers`: `local` or `modal`, the setting TRACER_WORKERS.
    - `workers_ready`: whether the workers would take a call of the row's step.
    - `workers_fault`: why they would not.
    - `workers_full`: whether they are busy, so that a claim takes no row of the step.
    - `host_since`: the start of the local worker host.
    """

    prefect: Reason | None = None
    schedule: Schedule | None = None
    workers: str | None = None
    workers_ready: bool | None = None
    workers_fault: Reason | None = None
    workers_full: bool | None = None
    host_since: datetime | None = None

    @property
    def workers_fix(self) -> str | None:
        """The command that fixes the workers, if they have a fault."""
        return self.workers_fault.fix if self.workers_fault else None

    @property
    def host_gone(self) -> bool:
        """Whether no worker host runs here."""
        return self.workers_fault is not None and self.workers_fault.code == Code.NO_WORKER_HOST

    @property
    def deserted(self) -> bool:
        """Whether neither Prefect nor a worker host runs here: then no local loop runs either."""
        code = self.prefect.code if self.prefect else None
        return self.host_gone and code in (Code.PREFECT_UNKNOWN, Code.PREFECT_UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """A step's row in the registry; None in all other fields if it is not registered.

    `hold_kind` and `hold_reason`: why it is held; None if it is not.
    """

    step: str
    enabled: bool | None
    max_in_flight: int | None
    hold_kind: str | None = None
    hold_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoopFacts:
    """The loop's row in the table `polling`; its fields are None if there is no row."""

    polling_paused: bool | None
    ticked_at: datetime | None
    poll_s: float | None
    idle_s: float | None
    now: datetime
    observed: Observed = field(default_factory=Observed)

    @staticmethod
    def of(polling: Row) -> "LoopFacts":
        """Make it from the row of `polling`, as `OperatorStore.polling` returns it."""
        return LoopFacts(
            polling_paused=polling["paused"],
            ticked_at=polling["ticked_at"],
            poll_s=polling["poll_s"],
            idle_s=polling["idle_s"],
            now=polling["now"],
        )

    @property
    def silent(self) -> bool:
        """Whether no loop runs any more."""
        longest = max(SILENCE, timedelta(seconds=2 * (self.idle_s or 0)))
        return self._untouched_for(longest) or (self.quiet and self.observed.deserted)

    @property
    def quiet(self) -> bool:
        """Whether the last tick is too long ago for a loop with work."""
        return self._untouched_for(max(QUIET, timedelta(seconds=3 * (self.poll_s or 0))))

    def _untouched_for(self, longest: timedelta) -> bool:
        return self.ticked_at is None or self.now - self.ticked_at > longest


@dataclass(frozen=True)
class NextClaim:
    """A row's place in the next claim of its step, by the claim's own arithmetic.

    - `free`: rows of the step that the claim may take.
    - `higher`: rows of batches with a higher priority; `highest` is the highest such priority.
    - `room`: rows that are left for this row's priority.
    - `sharing`: batches of this row's priority; each gets `mark` rows.
    - `spare`: rows left over; that many of these batches get one more row.
    - `ahead`: rows of the same batch that come before this one.
    - `arriving`: rows that the next tick brings to the step before it claims.
    - `rival`: a batch that goes first and has the same company PENDING at the same step, or None.
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
    """A company's newest row in a batch, with all facts that can hold it: the columns of `EXPLAIN`.

    `next_step`: to which the company goes on, None from the last.
    `waiting`: rows of the step that were claimed more than 5 s ago and not begun.
    `full_caps`: if a cap has no room for the row, those without room for it and all rows that may
    go before it; their `rows` are the latter. `limits`: how its provider stands. `send_at`: when
    its call goes out, as long as it has not.
    """

    number: int
    steps: int
    next_step: str | None
    in_waterfall: bool
    status: str
    attempt: int
    forgiven: int
    losses: int
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
    client: str | None
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
    provider: str | None
    price: Decimal | None
    reused_from: str | None
    reused_at: datetime | None
    lost_order: UUID | None
    lost_at: datetime | None
    bulk: int | None
    send_at: datetime | None
    limits: ProviderState | None = None
    full_caps: tuple[FullCap, ...] = ()
    next_claim: NextClaim | None = None

    @property
    def last(self) -> bool:
        """Whether the company goes to no step after this one."""
        return self.next_step is None

    @property
    def goes_on(self) -> bool:
        """Whether it has ended, and the next tick takes the company to another step."""
        failed_here = self.in_waterfall and self.status == Status.FAILED
        return not self.last and (self.status in ADVANCING or failed_here)

    @property
    def tries(self) -> int:
        """The attempts that count: an operator's retry forgives the earlier ones."""
        return self.attempt - self.forgiven

    @property
    def group(self) -> int | None:
        """Of how many rows at most a call with it is, after workers have died that had it."""
        return GROUP_SIZES[min(self.losses, len(GROUP_SIZES)) - 1] if self.losses else None

    @property
    def calls_of(self) -> int:
        """How many rows a call to the provider is for, at most."""
        return self.bulk or 1

    @property
    def attempt_text(self) -> str:
        """`attempt 2 of 5`, for a sentence."""
        return f"attempt {self.tries} of {self.max_attempts or '?'}"

    @property
    def not_spawned(self) -> bool:
        """Whether the row's error is one of its spawn, not of its work."""
        return self.error_kind in NOT_SPAWNED

    @property
    def lease_over(self) -> bool:
        """Whether the row's lease has ended."""
        return self.lease_expires_at is not None and self.lease_expires_at <= self.now

    @property
    def throttled(self) -> bool:
        """Whether the step claims nothing until `held_until`."""
        return self.held_until is not None and self.held_until > self.now

    @property
    def worker_silent_since(self) -> datetime | None:
        """The last renewal of the lease, if a living worker would have renewed it since; else None.

        None also if `tracer steps set` has changed `lease_s` during the attempt: then the computed
        time lies before the attempt began, and means nothing.
        """
        if not (self.lease_expires_at and self.started_at and self.lease_s):
            return None
        renewed = self.lease_expires_at - timedelta(seconds=self.lease_s)
        silent = self.now - renewed > timedelta(seconds=WORKER_SILENT * self.lease_s)
        return renewed if silent and renewed >= self.started_at - timedelta(seconds=1) else None
