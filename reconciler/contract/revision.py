"""The revision of a database's schema, in a table of Tracer's own."""

from typing import Any

import psycopg
from psycopg.rows import DictRow

from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.errors import NoRevision, WrongSchema

VERSION_TABLE = "tracer_version"
# Alembic's usual name, which other applications in the same database use too. Tracer kept its
# revision there up to 0012.
FORMER_TABLE = "alembic_version"
LAST_THERE = "0012"
# Moves the revision from there, with the name of its key, which Alembic would use again.
MOVE = f"""
DO $$ DECLARE key text; BEGIN
    IF to_regclass('{VERSION_TABLE}') IS NULL AND to_regclass('{FORMER_TABLE}') IS NOT NULL
        AND to_regclass('workflow_states') IS NOT NULL
    THEN
        ALTER TABLE {FORMER_TABLE} RENAME TO {VERSION_TABLE};
        SELECT conname INTO key FROM pg_constraint
        WHERE conrelid = '{VERSION_TABLE}'::regclass AND contype = 'p';
        EXECUTE 'ALTER TABLE {VERSION_TABLE} RENAME CONSTRAINT ' || quote_ident(key)
            || ' TO {VERSION_TABLE}_pkc';
    END IF;
END $$
"""
TABLES = """
SELECT to_regclass(%(own)s) IS NOT NULL AS own, to_regclass(%(former)s) IS NOT NULL AS former,
    to_regclass('workflow_states') IS NOT NULL AS tables
"""
REVISION = "SELECT version_num FROM {table}"


def revision(connection: psycopg.Connection[DictRow]) -> str | None:
    """The schema's revision, None if no migration has run.

    Raises:
        NoRevision: the tables are there, and their revision is not.
    """
    found, _ = _read(connection)
    return found


def is_current(connection: psycopg.Connection[DictRow]) -> bool:
    """Whether the schema is the one that this code needs.

    Raises:
        NoRevision: see `revision`.
    """
    return _read(connection) == (SCHEMA_REVISION, VERSION_TABLE)


def check_revision(connection: psycopg.Connection[DictRow]) -> None:
    """Refuse a schema with another revision than this code, before anything is written.

    Raises:
        WrongSchema: the schema is missing, older or newer.
        NoRevision: see `revision`.
    """
    if not is_current(connection):
        raise WrongSchema(revision(connection), SCHEMA_REVISION)


def _read(connection: psycopg.Connection[DictRow]) -> tuple[str | None, str | None]:
    """The revision and its table."""
    names = {"own": VERSION_TABLE, "former": FORMER_TABLE}
    there: dict[str, Any] = connection.execute(TABLES, names).fetchone() or {}
    # Without Tracer's tables, the other table is another application's.
    table = VERSION_TABLE if there["own"] else FORMER_TABLE if there["former"] else None
    table = table if there["own"] or there["tables"] else None
    row = connection.execute(REVISION.format(table=table).encode()).fetchone() if table else None
    if table == FORMER_TABLE and row and row["version_num"] > LAST_THERE:
        row = None  # another application's
    if row is None and there["tables"]:
        raise NoRevision(SCHEMA_REVISION)
    return (row["version_num"], table) if row else (None, None)
