"""Postgres's "permission denied", as a clear error."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from reconciler.contract.errors import GRANT, NotAllowed


@contextmanager
def explain_denial(user: str, role: str = "the owner") -> Iterator[None]:
    """Turn Postgres's "permission denied" into a clear error: `user` may not do what `role` may.

    Raises:
        NotAllowed: Postgres has denied a statement of the block.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        denied = error.diag.message_primary
        if user == role:
            says = f"The role {user} lacks a grant that it needs ({denied})."
            raise NotAllowed(f"{says} As the database's owner, grant it.", GRANT) from error
        raise NotAllowed(
            f"The role {user} may not do this; {role} may ({denied}): name that role in "
            "DATABASE_URL."
        ) from error
