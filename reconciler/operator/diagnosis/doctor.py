"""What one check of `tracer doctor` finds."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.contract.errors import TracerError
from reconciler.contract.results import StepResult

Check = Callable[[], str]
Tables = Callable[[], Mapping[str, type[StepResult]]]  # the steps whose code is here
COMMAND = re.compile(r"`((?:tracer|prefect|modal|createdb) [^`]+)`")


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well and what was seen; where it is not well,
    why that matters and the command that fixes it."""

    part: str
    ok: bool
    says: str
    why: str | None = None
    fix: str | None = None


class Fault(TracerError):
    """What a check found to be wrong, and the command that fixes it."""

    def __init__(self, says: str, fix: str | None) -> None:
        super().__init__(says)
        self.fix = fix


def examine(part: str, check: Check, why: str) -> Finding:
    """Run one check; an error that is no `Fault` has the command in its message."""
    try:
        return Finding(part, True, check())
    except Fault as fault:
        return Finding(part, False, str(fault), why, fault.fix)
    except TracerError as error:
        return Finding(part, False, str(error), why, command_in(str(error)))


def command_in(message: str) -> str | None:
    """The command that an error's message tells to run."""
    found = COMMAND.search(message)
    return found[1] if found else None
