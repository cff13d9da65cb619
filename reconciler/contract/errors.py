"""What can go wrong in a way that a person can fix.

    TracerError
    ├── WorkFailed     exit code 1: the work was tried and failed
    ├── BadInput       exit code 2: wrong usage or bad input
    │   ├── NotAllowed     DATABASE_URL names a role that may not do this
    │   ├── NoPolling      the row that every tick reads was deleted
    │   └── WrongSchema    the schema is missing, older or newer than this code
    └── Unreachable    exit code 3: a service that is needed does not answer

Every message is one sentence or two for a person: what is wrong, and what to do about it.
"""

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str]) -> str:
    """A question for the end of a message, where `given` looks like one of the `known` names."""
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(given.casefold(), folded, 1)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


class TracerError(Exception):
    """The root; its exit code is what the command line ends with."""

    exit_code = 1


class WorkFailed(TracerError):
    """The work was tried and failed."""

    exit_code = 1


class BadInput(TracerError):
    """Wrong usage, or input that cannot be used; nothing was written."""

    exit_code = 2


class NotAllowed(BadInput):
    """The database's role may not do this; nothing was written."""


class NoPolling(BadInput):
    """The row that every tick reads was deleted."""

    says = "The table `polling` has no row"
    fix = "psql \"$DATABASE_URL\" -c 'INSERT INTO polling DEFAULT VALUES'"

    def __init__(self) -> None:
        super().__init__(f"{self.says}: {self.fix}")


class WrongSchema(BadInput):
    """The schema is not the one that this code knows: it is at `found`, None where there is none,
    and the code needs `needed`."""

    def __init__(self, says: str, found: str | None, needed: str) -> None:
        super().__init__(says)
        self.found = found
        self.needed = needed


class Unreachable(TracerError):
    """A service that is needed does not answer."""

    exit_code = 3
