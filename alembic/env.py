"""Runs the revisions on the caller's database, or on the one that DATABASE_URL names."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool

from reconciler.contract import (  # noqa: F401 - their tables register themselves
    loop_models,
    models,
    money_models,
)
from reconciler.contract.column_types import SCHEMA_TURN, ContractTable
from reconciler.contract.database import connect
from reconciler.contract.database_url import libpq_url
from reconciler.contract.errors import UPGRADE, BadInput
from reconciler.contract.revision import MOVE, VERSION_TABLE
from reconciler.contract.session import LIFT
from reconciler.contract.settings import load_settings

# Without the domain tables: they are in another schema, and `tracer steps sync` creates them.
TARGET = ContractTable.metadata


def url() -> str:
    """The database to migrate: the caller's, else DATABASE_URL."""
    found = context.config.attributes.get("database_url") or load_settings().database_url
    if not found:
        raise BadInput("Set DATABASE_URL, or let Tracer start a Postgres.", UPGRADE)
    return str(found)


def engine_options() -> dict[str, Any]:
    """Connect through libpq, so that all forms of URL that Tracer accepts work here too."""
    connect(url()).close()  # a failure raises an error that says what to do
    return {
        "creator": lambda: psycopg.connect(libpq_url(url()), client_encoding="utf8"),
        "poolclass": pool.NullPool,
        # What another upgrade has just made must be seen once it has ended.
        "isolation_level": "READ COMMITTED",
    }


def run() -> None:
    """Run all revisions in one transaction: all of them are applied, or none.

    They take as long as they need, and one program runs them at a time.
    """
    with create_engine("postgresql+psycopg://", **engine_options()).connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=TARGET,
            version_table=VERSION_TABLE,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            for statement in (LIFT, SCHEMA_TURN, MOVE):
                connection.exec_driver_sql(statement)
            found = context.get_context().get_current_revision()
            context.config.attributes["before"] = found
            context.run_migrations()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=TARGET,
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
