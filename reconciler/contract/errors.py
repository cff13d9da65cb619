"""Errors that a person can fix.

    TracerError
    ├── WorkFailed     exit code 1: the work was tried and failed
    ├── BadInput       exit code 2: wrong usage or bad input
    │   ├── NotAllowed     the role in DATABASE_URL may not do this
    │   ├── NoPolling      the row of `polling`, which every tick reads, was deleted
    │   ├── NoRevision     the schema's revision, which every program reads, was deleted
    │   └── WrongSchema    the schema is missing, older or newer than this code
    └── Unreachable    exit code 3: a service that is needed does not answer

Each says in one or two sentences what is wrong, and names the command that fixes it, if any.
"""

import difflib
from collections.abc import Iterable

UPGRADE = "tracer db upgrade"
DEPLOY_WORKERS = "tracer modal deploy"
GRANT = "tracer db roles"  # the owner of the tables runs it


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The question "Did you mean …?" if one of the `known` names is close to `given`."""
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(given.casefold(), folded, 1)
    return f" Did you mean {folded[found[0]]!r}?" if found else ""


def with_fix(says: str, fix: str | None) -> str:
    """`says`, and "run `fix`" if there is a fix."""
    return f"{says.rstrip('.')}: run `{fix}`." if fix else says


class TracerError(Exception):
    """The root. `says`: what is wrong. `fix`: the command that fixes it, None if there is none.

    The command line ends with `exit_code`.
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
    """The role in DATABASE_URL may not do this; nothing was written."""


class NoPolling(BadInput):
    """The one row of `polling`, which every tick reads, was deleted."""

    def __init__(self) -> None:
        super().__init__(
            "The table `polling` has lost the row that every tick reads",
            "psql \"$(tracer db url)\" -c 'INSERT INTO polling DEFAULT VALUES'",
        )


class NoRevision(BadInput):
    """The database has Tracer's tables, and no longer says at which revision they are."""

    def __init__(self, needed: str) -> None:
        made = "CREATE TABLE IF NOT EXISTS tracer_version (version_num varchar(32) PRIMARY KEY)"
        row = f"INSERT INTO tracer_version VALUES ('{needed}')"
        super().__init__(
            "The database has Tracer's tables, and `tracer_version` has lost the row with their "
            "revision. Restore it from a backup. If this version of Tracer was the last to migrate",
            f'psql "$(tracer db url)" -c "{made}" -c "{row}"',
        )
        self.needed = needed


class WrongSchema(BadInput):
    """The schema is at revision `found`, None if there is none, and this code needs `needed`."""

    def __init__(self, found: str | None, needed: str) -> None:
        super().__init__(*_wrong_schema(found, needed))
        self.found = found
        self.needed = needed


def _wrong_schema(found: str | None, needed: str) -> tuple[str, str | None]:
    if found is None:
        return "The database has no Tracer schema yet.", UPGRADE
    if found <= needed:  # the same one, where it is not kept where this code looks for it
        says = f"The schema is too old: it has revision {found}, and this Tracer needs {needed}."
        return says, UPGRADE
    says = (
        f"This Tracer is too old: the schema has revision {found}, and this Tracer needs {needed}"
    )
    return f"{says}: update Tracer.", None


class Unreachable(TracerError):
    """A service that is needed does not answer."""

    exit_code = 3
