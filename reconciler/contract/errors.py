"""What can go wrong in a way that a person can fix.

    TracerError
    ├── WorkFailed     exit code 1: the work was tried and failed
    ├── BadInput       exit code 2: wrong usage or bad input
    │   ├── NotAllowed     DATABASE_URL names a role that may not do this
    │   ├── NoPolling      the row that every tick reads was deleted
    │   └── WrongSchema    the schema is missing, older or newer than this code
    └── Unreachable    exit code 3: a service that is needed does not answer

Each says in a sentence or two what is wrong, and carries the command that fixes it if there is one.
"""

import difflib
from collections.abc import Iterable

UPGRADE = "tracer db upgrade"
DEPLOY_WORKERS = "tracer modal deploy"
GRANT = "tracer db roles"  # for the owner of the tables


def nearest(given: str, known: Iterable[str]) -> str:
    """A question for the end of a message, where `given` looks like one of the `known` names."""
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(given.casefold(), folded, 1)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


def with_fix(says: str, fix: str | None) -> str:
    """A sentence for a person: what is wrong, and the command to run."""
    return f"{says.rstrip('.')}: run `{fix}`." if fix else says


class TracerError(Exception):
    """The root: `says` is what is wrong, `fix` the command that fixes it, None if none does.

    The exit code is what the command line ends with.
    """

    exit_code = 1

    def __init__(self, says: str, fix: str | None = None) -> None:
        super().__init__(says)
        self.says = says
        self.fix = fix

    def __str__(self) -> str:
        return with_fix(self.says, self.fix)


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

    def __init__(self) -> None:
        super().__init__(
            "The table `polling` has no row, which every tick reads",
            "psql \"$DATABASE_URL\" -c 'INSERT INTO polling DEFAULT VALUES'",
        )


class WrongSchema(BadInput):
    """The schema is at revision `found`, None if there is none, and this code needs `needed`."""

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(*_wrong_schema(found, needed))
        self.found = found
        self.needed = needed


def _wrong_schema(found: str | None, needed: str) -> tuple[str, str | None]:
    if found is None:
        return "The database has no Tracer schema yet.", UPGRADE
    if found < needed:
        says = f"The schema is behind: it is at revision {found}, and this Tracer needs {needed}."
        return says, UPGRADE
    says = (
        f"This Tracer is behind: the schema is at revision {found}, and this Tracer needs {needed}"
    )
    return f"{says}: update Tracer.", None


class Unreachable(TracerError):
    """A service that is needed does not answer."""

    exit_code = 3
