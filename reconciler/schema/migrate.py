"""Migrates a database to the revision of this code."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.database import connect, revision
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput
from reconciler.schema.domain_tables import as_owner

IN_WHEEL = Path(__file__).parent / "revisions"
IN_CHECKOUT = Path(__file__).parents[2] / "alembic"
REVISIONS = IN_WHEEL if IN_WHEEL.exists() else IN_CHECKOUT


def upgrade_schema(url: str) -> str | None:
    """Migrate to `SCHEMA_REVISION`; returns the revision before, None if there was no schema.

    Raises:
        Unreachable: no database answers.
        BadInput: the database is newer than this code, or the role may not change it.
    """
    with connect(url) as connection, explain_denial(connection.info.user):
        before = revision(connection)
    if before and before > SCHEMA_REVISION:
        raise BadInput(
            f"The database has revision {before}, newer than this Tracer: update Tracer."
        )
    config = Config(attributes={"database_url": url})
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    with as_owner(url):
        command.upgrade(config, "head")
    return before
