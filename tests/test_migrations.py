"""Revisions and models say the same, and a database can go up, down and up again."""

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from cli.db import REVISIONS, upgrade_schema
from cli.tables import sync_tables
from reconciler.contract.columns import SCHEMA_REVISION, ContractTable
from reconciler.contract.database import connect, revision
from reconciler.contract.errors import BadInput

HERE = """
SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
WHERE table_schema IN ('public', 'results') ORDER BY 1
"""
CHECKS = """
SELECT conname FROM pg_constraint
WHERE contype = 'c' AND connamespace = 'public'::regnamespace ORDER BY 1
"""


def config(url: str) -> Config:
    made = Config(attributes={"database_url": url})
    made.set_main_option("script_location", str(REVISIONS))
    return made


def names(url: str, query: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query)]


def test_the_code_knows_the_newest_revision(url: str) -> None:
    assert ScriptDirectory.from_config(config(url)).get_current_head() == SCHEMA_REVISION


def test_models_and_revisions_do_not_drift_apart(url: str) -> None:
    command.check(config(url))


def test_every_check_of_the_models_is_in_the_database(url: str) -> None:
    """Alembic's comparison does not look at these, and they carry the invariants."""
    wanted = {
        str(constraint.name)
        for table in ContractTable.metadata.tables.values()
        for constraint in table.constraints
        if type(constraint).__name__ == "CheckConstraint"
    }
    assert set(names(url, CHECKS)) == wanted


def test_down_to_empty_and_up_again(url: str) -> None:
    before = names(url, HERE)
    command.downgrade(config(url), "base")
    assert names(url, HERE) == ["public.alembic_version"]
    upgrade_schema(url)
    sync_tables(url)
    assert names(url, HERE) == before


def test_an_upgrade_that_is_not_needed_changes_nothing(url: str) -> None:
    assert upgrade_schema(url) == SCHEMA_REVISION


def test_a_newer_database_is_not_touched(url: str) -> None:
    with connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(BadInput, match="newer than this Tracer"):
            upgrade_schema(url)
        assert revision(connection) == "9999"
