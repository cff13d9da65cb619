"""The states of a row and the verbs that move it: one table; tests check the SQL against it."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The state of one step of one company in one batch."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    NOT_FOUND = "NOT_FOUND"  # the provider does not know the company
    SKIPPED = "SKIPPED"  # an input that the step needs has no result
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


IN_FLIGHT = (Status.QUEUED, Status.IN_PROGRESS)
# The next step follows on these.
ADVANCING = (Status.COMPLETED, Status.NOT_FOUND, Status.SKIPPED)
TERMINAL = (*ADVANCING, Status.FAILED, Status.CANCELLED)


class BatchStatus(StrEnum):
    """The state of a batch. FINISHED: every row is terminal; some may have FAILED."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Transition:
    """One verb: it moves a row from one of `sources` to one of `targets`.

    `who` may do so, if `guard` is true.
    """

    verb: str
    sources: tuple[Status, ...]
    targets: tuple[Status, ...]
    who: str
    guard: str


_P, _Q, _I, _C, _N, _S, _F, _X = Status

TRANSITIONS = (
    Transition("seed", (), (_P,), "operator", "first step of the blueprint"),
    Transition("claim", (_P,), (_Q,), "tick", "available, batch running, capacity and caps left"),
    Transition("claim", (_P,), (_F,), "tick", "an earlier call may have been charged"),
    Transition("reuse", (_P,), (_C, _N), "tick", "a fresh answer, whose result has landed"),
    Transition("release", (_Q,), (_P,), "tick", "spawn refused, same attempt"),
    Transition("give_back", (_Q,), (_P,), "tick", "its worker host is gone"),
    Transition("give_back", (_I,), (_I,), "tick", "its worker host is gone; the lease ends"),
    Transition("release", (_Q, _I), (_P,), "worker", "told to end; the step was not called"),
    Transition("begin", (_Q,), (_I,), "worker", "by company and step"),
    Transition("heartbeat", (_I,), (_I,), "worker", "same attempt"),
    Transition("complete", (_I,), (_C,), "worker", "same attempt, with its domain row"),
    Transition("miss", (_I,), (_N,), "worker", "same attempt"),
    Transition("skip", (_I,), (_S,), "worker", "same attempt, with the reason"),
    Transition("fail", (_I,), (_I, _F), "worker", "same attempt"),
    Transition("reap", (_Q, _I), (_P, _F), "tick", "lease expired"),
    *(
        Transition("advance", (status,), (status,), "tick", "once; seeds the next step")
        for status in ADVANCING
    ),
    Transition("advance", (_F,), (_F,), "tick", "once, in a waterfall; seeds the next step"),
    Transition("retry", (_F,), (_P,), "operator", "batch not cancelled"),
    Transition("rerun", (_C, _N, _S, _F), (_P,), "operator", "batch not cancelled, step named"),
    Transition("cancel", (_P, _Q, _I), (_X,), "operator", "batch or rows named"),
)
