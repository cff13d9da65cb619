"""Runs the revisions on the caller's database, or on the one that DATABASE_URL names."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, pool

from reconciler.contract import loop_models, models  # noqa: F401 - their tables register themselves
from reconciler.contract.column_types import SCHEMA_TURN, ContractTable
from reconciler.contract.database import connect, libpq_url
from reconciler.contract.errors import UPGRADE, BadInput
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
    }


def run() -> None:
    """Run all revisions in one transaction: all of them are applied, or none."""
    with create_engine("postgresql+psycopg://", **engine_options()).connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=TARGET,
            compare_type=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            connection.exec_driver_sql(SCHEMA_TURN)
            context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=TARGET, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
