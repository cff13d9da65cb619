"""All that can explain where a row is: what the database knows, and what was seen outside of it."""

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.local.worker_host import NO_HOST

COUNTED = 10_001  # rows, at most: "more than 10,000" is as good as the number

# A loop that has not ticked for longer has ended, or the machine that it runs on has. Cron's runs
# come a minute apart, and some a little late.
SILENCE = timedelta(seconds=90)
# With work to do, a loop ticks at the poll interval; a tick itself may take some seconds.
QUIET = timedelta(seconds=5)
# Of a lease, after which no beat was missed by chance alone: a worker beats every third of it.
MUTE = 2 / 3


class Conductor(StrEnum):
    """How Prefect's schedule of the loop is."""

    UNKNOWN = "no Prefect server is known"
    UNREACHABLE = "Prefect does not answer"
    NOT_DEPLOYED = "Prefect has no deployment of the loop"
    NO_INTERVAL = "Prefect's deployment has no interval schedule"
    PAUSED = "Prefect's schedule is paused"
    NO_WORKER = "no Prefect worker polls the pool"
    ELSEWHERE = "Prefect's deployment is on no work pool that a worker polls"
    POOL_PAUSED = "Prefect's work pool is paused"
    POOL_FULL = "Prefect's work pool has reached its concurrency limit"
    QUEUE_PAUSED = "Prefect's work queue is paused"
    QUEUE_FULL = "Prefect's work queue has reached its concurrency limit"
    LATE = "Prefect's next run is late"
    WELL = "Prefect's schedule is active"


@dataclass(frozen=True)
class Outside:
    """What was seen outside of the database; None where nobody looked, or could not.

    `workers_ready` says whether a call would find its worker: the local host has the step, or the
    step's function is deployed on Modal, as `workers` has it. Where it would not, `workers_fault`
    says why, for a sentence, and `workers_fix` is the command that fixes it. `host_since` is when
    the local host was started.
    """

    prefect: Conductor | None = None
    prefect_url: str | None = None
    prefect_pool: str | None = None
    prefect_queue: str | None = None
    next_run_at: datetime | None = None
    workers: str | None = None
    workers_ready: bool | None = None
    workers_fault: str | None = None
    workers_fix: str | None = None
    host_since: datetime | None = None

    @property
    def deserted(self) -> bool:
        """Whether nothing that ticks is left here: neither a Prefect nor a host beside a loop."""
        away = self.prefect in (Conductor.UNKNOWN, Conductor.UNREACHABLE)
        return away and self.workers_fault == NO_HOST


@dataclass(frozen=True)
class Turn:
    """A row's place in the next claim of its step, as that claim itself counts it.

    The claim may take `free` rows of the step, and `room` of them after batches of a higher
    priority, which have `higher` rows; `highest` is the highest priority that waits. Each of the
    `sharing` batches of this row's priority gets `mark` rows, if it has so many, and some get one
    of the `spare` ones. `ahead` rows of its own batch come first. `arriving` rows are brought to
    the step by the next tick, before its claim. The batch `rival` has the same company at the same
    step, and goes first where both would be taken.
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


@dataclass(frozen=True)
class Facts:
    """A company's newest row in a batch, and what can keep it there, as `queries.explain.EXPLAIN`
    reads it; the registry's columns are None where the step is not registered, and those of
    `polling` where it has no row. `waiting` rows of the step have long been claimed and not begun.
    """

    step: str
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
    enabled: bool | None
    max_attempts: int | None
    max_in_flight: int | None
    lease_s: float | None
    held_until: datetime | None
    allowance: int | None
    held_because: str | None
    in_flight: int
    waiting: int
    expired: int
    working_batch: str | None
    polling_paused: bool | None
    ticked_at: datetime | None
    poll_s: float | None
    idle_s: float | None
    now: datetime
    turn: Turn | None = None
    outside: Outside = field(default_factory=Outside)

    @property
    def last(self) -> bool:
        """Whether no step of the blueprint comes after this one."""
        return self.number == self.steps

    @property
    def tries(self) -> int:
        """The attempts that count: an operator's retry forgives those before it."""
        return self.attempt - self.forgiven

    @property
    def silent(self) -> bool:
        """Whether no loop is left that ticks."""
        long = is_silent(self.now, self.ticked_at, self.idle_s or 0)
        return long or (self.quiet and self.outside.deserted)

    @property
    def quiet(self) -> bool:
        """Whether no tick has come for longer than a loop that has work to do lets pass."""
        longest = max(QUIET, timedelta(seconds=3 * (self.poll_s or 0)))
        return self.ticked_at is None or self.now - self.ticked_at > longest

    @property
    def mute_since(self) -> datetime | None:
        """When the row's worker last renewed the lease, where a living one would have since.

        A lease that seems to have begun before the attempt was of another length: `steps set` has
        changed it, and it tells nothing.
        """
        if not (self.lease_expires_at and self.started_at and self.lease_s):
            return None
        beat = self.lease_expires_at - timedelta(seconds=self.lease_s)
        mute = self.now - beat > timedelta(seconds=MUTE * self.lease_s)
        return beat if mute and beat >= self.started_at - timedelta(seconds=1) else None

    def evidence(self) -> dict[str, object]:
        """What is known, by name; nothing where there is nothing."""
        forgiven = () if self.tries else ("queued_at", "started_at", "call_id")
        found = known(self) | {"last": self.last}
        return {name: value for name, value in found.items() if name not in forgiven}


@dataclass(frozen=True)
class Reason:
    """One sentence, and the command that would move the row where one would."""

    says: str
    fix: str | None = None


def known(facts: object) -> dict[str, object]:
    """The fields of a dataclass that have a value, those of its parts within them."""
    found = ((part.name, getattr(facts, part.name)) for part in fields(facts))  # type: ignore[arg-type]
    parts = ((name, known(value) if is_dataclass(value) else value) for name, value in found)
    return {name: value for name, value in parts if value not in (None, {})}


def is_silent(now: datetime, ticked_at: datetime | None, idle_s: float) -> bool:
    """Whether no loop is left that ticks, by the last sign of life."""
    return ticked_at is None or now - ticked_at > max(SILENCE, timedelta(seconds=2 * idle_s))
