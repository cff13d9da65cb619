"""Migrates a database to the revision of this code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ProgrammingError

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.database import connect
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput
from reconciler.contract.revision import revision
from reconciler.schema.domain_tables import as_owner

IN_WHEEL = Path(__file__).parent / "revisions"
IN_CHECKOUT = Path(__file__).parents[2] / "alembic"
REVISIONS = IN_WHEEL if IN_WHEEL.exists() else IN_CHECKOUT
TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.DuplicateObject,
)


def upgrade_schema(url: str) -> str | None:
    """Migrate to `SCHEMA_REVISION`; returns the revision before, None if there was no schema.

    Raises:
        Unreachable: no database answers.
        BadInput: the database is newer than this code, the role may not change it, or it has tables
            of these names that are not Tracer's.
    """
    with connect(url) as connection, explain_denial(connection.info.user):
        found = revision(connection)
    if found and found > SCHEMA_REVISION:
        raise BadInput(f"The database has revision {found}, newer than this Tracer: update Tracer.")
    config = Config(attributes={"database_url": url})
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    with as_owner(url), _own_names():
        command.upgrade(config, "head")
    before: str | None = config.attributes["before"]  # another upgrade may have ended meanwhile
    return before


@contextmanager
def _own_names() -> Iterator[None]:
    """Say so if a name is taken; the revisions are one transaction, so nothing is half made.

    Raises:
        BadInput: another application has a table, or a schema, of such a name.
    """
    try:
        yield
    except ProgrammingError as error:
        if not isinstance(error.orig, TAKEN):
            raise
        taken = error.orig.diag.message_primary
        raise BadInput(
            f"Nothing was made, because another application is here: {taken}. Give Tracer a "
            "database of its own in DATABASE_URL."
        ) from error
