"""A reason: its code for programs, its sentence for people, and the command that fixes it."""

from dataclasses import dataclass
from enum import StrEnum, auto

from reconciler.contract.errors import with_fix


class Code(StrEnum):
    """Every reason that `explain`, `doctor` and `inspect` give. Scripts read them: never rename."""

    # The row has ended.
    ALL_STEPS_DONE = auto()
    STEP_DONE = auto()
    NOT_FOUND = auto()
    SKIPPED = auto()
    FAILED = auto()
    MAY_BE_CHARGED = auto()
    CANCELLED = auto()
    BATCH_CANCELLED = auto()
    CANCEL_UNFINISHED = auto()

    # The row waits to be claimed.
    BATCH_PAUSED = auto()
    BACKOFF = auto()
    ASKED_TO_WAIT = auto()
    SPAWN_FAILED = auto()
    THROTTLED = auto()
    COMPANY_IN_FLIGHT = auto()
    CAP_FULL = auto()
    PROVIDER_PAUSED = auto()
    PROVIDER_FULL = auto()
    PROVIDER_PROBING = auto()
    PROVIDER_BUSY = auto()
    PROVIDER_RATE = auto()
    CAPACITY_ZERO = auto()
    CAPACITY_USED_UP = auto()
    WORKERS_FULL = auto()
    HIGHER_PRIORITY = auto()
    BEHIND_IN_BATCH = auto()
    IN_LINE = auto()
    CLAIMED_NEXT = auto()

    # The row was claimed.
    CLAIMED = auto()
    CALL_PLANNED = auto()
    SPAWN_UNANSWERED = auto()
    RUNNING = auto()
    WORKER_SILENT = auto()
    LEASE_OVER = auto()
    WORKER_HOST_GONE = auto()

    # Money.
    ORDERS_UNKNOWN = auto()
    PRICE_TOO_LOW = auto()

    # The step.
    STEP_NOT_REGISTERED = auto()
    STEP_DISABLED = auto()
    STEP_HELD = auto()
    SECRET_MISSING = auto()
    STEP_CODE_MISSING = auto()
    STEP_CODE_BROKEN = auto()

    # The loop, and Prefect's schedule of it.
    POLLING_PAUSED = auto()
    POLLING_ROW_MISSING = auto()
    NO_TICK = auto()
    NO_NEXT_TICK = auto()
    STACK_STARTING = auto()
    PREFECT_UNKNOWN = auto()
    PREFECT_UNREACHABLE = auto()
    PREFECT_NOT_DEPLOYED = auto()
    PREFECT_NO_INTERVAL = auto()
    PREFECT_PAUSED = auto()
    PREFECT_NO_WORKER = auto()
    PREFECT_OTHER_POOL = auto()
    PREFECT_POOL_PAUSED = auto()
    PREFECT_POOL_FULL = auto()
    PREFECT_QUEUE_PAUSED = auto()
    PREFECT_QUEUE_FULL = auto()
    PREFECT_LATE = auto()
    SCHEDULE_GAP = auto()

    # The workers, here and on Modal.
    NO_WORKER_HOST = auto()
    WORKER_HOST_SILENT = auto()
    WORKER_HOST_OUTDATED = auto()
    WORKER_HOST_STRANGER = auto()
    WORKER_HOST_LACKS_STEP = auto()
    MODAL_UNREACHABLE = auto()
    MODAL_REFUSES = auto()
    MODAL_APP_MISSING = auto()
    MODAL_APP_DIFFERS = auto()
    FUNCTION_NOT_DEPLOYED = auto()
    FUNCTION_NOT_REGISTERED = auto()

    # Settings and the database.
    SETTING_INVALID = auto()
    DATABASE_UNREACHABLE = auto()
    DATABASE_READ_ONLY = auto()
    SCHEMA_MISSING = auto()
    SCHEMA_BEHIND = auto()
    TRACER_BEHIND = auto()
    SCHEMA_DAMAGED = auto()
    TABLE_LOCKED = auto()
    RESULT_TABLE_MISSING = auto()
    ROLE_LACKS_GRANT = auto()
    ROLE_OF_WORKERS = auto()


@dataclass(frozen=True)
class Reason:
    """A sentence without its full stop, and the command that fixes it, or None."""

    code: Code
    says: str
    fix: str | None = None

    def __str__(self) -> str:
        return with_fix(self.says, self.fix)
