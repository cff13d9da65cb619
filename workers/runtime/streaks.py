"""Counts companies in a row that fail alike: a bug that comes after the call is paid each time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.holds import Hold, HoldKind
from reconciler.contract.results import StepResult
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from workers.kit import Step
from workers.runtime.calls import Turn

# What may be the step's fault. PermanentError is its author's word about one company.
OWN_FAULTS = (
    ErrorKind.RAISED,
    ErrorKind.TIMED_OUT,
    ErrorKind.WRONG_RESULT,
    ErrorKind.NOT_WRITTEN,
)


@dataclass
class Streak:
    """Companies that have failed alike since the step last had a result, in this process.

    Companies and not attempts: a few that cannot be worked are tried again and again at a batch's
    end, when no other is left.
    """

    alike: tuple[ErrorKind, str]
    companies: set[int] = field(default_factory=set)


class Streaks:
    """The streak of each step."""

    def __init__(self) -> None:
        self._streaks: dict[str, Streak] = {}

    def __bool__(self) -> bool:
        return bool(self._streaks)

    def note(
        self, outcomes: Iterable[tuple[Turn, object]], refused: Mapping[Turn, Failure]
    ) -> list[tuple[Step, Hold]]:
        """Take in outcomes in their order; returns the steps that are to be held.

        `refused`: those whose result was not written, and why.
        """
        holds: dict[str, tuple[Step, Hold]] = {}
        for turn, came_to in outcomes:
            found = refused.get(turn, came_to)
            name, step = turn.attempt.step_name, turn.call.step
            if isinstance(found, StepResult) or is_answer(found):
                self._streaks.pop(name, None)
                continue
            if isinstance(found, Failure) and (hold := self._failed(turn, found)):
                holds[name] = (step, hold)
        return list(holds.values())

    def _failed(self, turn: Turn, failure: Failure) -> Hold | None:
        if failure.kind not in OWN_FAULTS:
            return None
        name, most, alike = (
            turn.attempt.step_name,
            turn.attempt.hold_after,
            (failure.kind, failure.cause),
        )
        streak = self._streaks.get(name)
        if streak is None or streak.alike != alike:
            streak = self._streaks[name] = Streak(alike)
        streak.companies.add(turn.attempt.company.id)
        if not most or len(streak.companies) < most:
            return None
        del self._streaks[name]
        return Hold(HoldKind.FAILURES, f"{most} companies in a row failed alike: {failure.cause}")


def is_answer(found: object) -> bool:
    """Whether the step has found out that there is nothing to find."""
    return isinstance(found, Failure) and found.ends == Status.NOT_FOUND
