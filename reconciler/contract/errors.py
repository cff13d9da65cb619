"""What can go wrong in a way that a person can mend.

    TracerError
    ├── WorkFailed     exit code 1: the work was tried and failed
    ├── BadInput       exit code 2: wrong usage or bad input
    │   └── NotAllowed     DATABASE_URL names a role that may not do this
    └── Unreachable    exit code 3: a service that is needed does not answer

Every message is one sentence or two for a person: what is wrong, and what to do about it.
"""


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


class Unreachable(TracerError):
    """A service that is needed does not answer."""

    exit_code = 3
