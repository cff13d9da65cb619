"""Revisions and models say the same, and a database can go up, down and up again."""

import os
import re
import subprocess
import sys
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from reconciler.contract.column_types import SCHEMA_REVISION, SCHEMA_TURN, ContractTable
from reconciler.contract.database import connect
from reconciler.contract.errors import BadInput
from reconciler.contract.grants import SPECIAL
from reconciler.contract.revision import LAST_THERE, revision
from reconciler.operator import views
from reconciler.operator.history import read_history
from reconciler.operator.seeding.batch import Spending
from reconciler.poll import poll
from reconciler.schema.domain_tables import sync_tables
from reconciler.schema.migrate import REVISIONS, upgrade_schema
from tests.standins.controlplane.terminal import ROOT
from tests.terminal import Terminal
from tests.world import STEPS, World, wait_until
from workers.steps.normalize import Normalized

TABLES = [step.table for step in STEPS.values()]


HERE = """
SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
WHERE table_schema IN ('public', 'results') ORDER BY 1
"""
CHECKS = """
SELECT conname FROM pg_constraint
WHERE contype = 'c' AND connamespace = 'public'::regnamespace ORDER BY 1
"""

COLUMNS = """
SELECT table_name || '.' || column_name FROM information_schema.columns
WHERE table_schema = 'results'
"""
TABLE_NAMES = [str(table.__tablename__) for table in TABLES]
WRITTEN = ("written_for", "written_with")
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def config(url: str) -> Config:
    made = Config(attributes={"database_url": url})
    made.set_main_option("script_location", str(REVISIONS))
    return made


def names(url: str, query: str) -> list[Any]:
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
    assert names(url, HERE) == ["public.tracer_version"]
    upgrade_schema(url)
    sync_tables(url, TABLES)
    assert names(url, HERE) == before


def test_two_upgrades_of_an_empty_database_take_turns(url: str) -> None:
    """Even where a transaction does not see what others commit meanwhile."""
    before = names(url, HERE)
    with psycopg.connect(url, autocommit=True) as owner:
        name = url.partition("?")[0].rpartition("/")[2]
        level = "default_transaction_isolation = 'repeatable read'"
        owner.execute(f"ALTER DATABASE {name} SET {level}".encode())
    command.downgrade(config(url), "base")
    with psycopg.connect(url) as turn:
        turn.execute("DROP TABLE tracer_version")
        turn.commit()
        turn.execute(SCHEMA_TURN)
        command_line = [sys.executable, "-c", "from cli import main; main()", "db", "upgrade"]
        environment = os.environ | {"DATABASE_URL": url}
        there = subprocess.Popen(command_line, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        found: list[str | None] = []
        here = Thread(target=lambda: found.append(upgrade_schema(url)))
        here.start()  # alembic is for one thread of a process
        wait_until(lambda: names(url, WAITING) == [2])
    here.join()
    _, said = there.communicate()
    assert there.returncode == 0, said
    # The one that has waited finds nothing to do.
    assert sorted([found == [None], b"Schema: none -> " in said]) == [False, True]
    assert names(url, HERE) == before


def test_an_upgrade_that_is_not_needed_changes_nothing(url: str) -> None:
    assert upgrade_schema(url) == SCHEMA_REVISION


def test_a_newer_database_is_not_touched(url: str) -> None:
    with connect(url) as connection:
        connection.execute("UPDATE tracer_version SET version_num = '9999'")
        with pytest.raises(BadInput, match="newer than this Tracer"):
            upgrade_schema(url)
        assert revision(connection) == "9999"


@pytest.mark.parametrize("found", ["0001", "9999"], ids=["older", "newer"])
def test_a_schema_that_moves_under_a_running_program_stops_it_before_it_writes(
    world: World, found: str
) -> None:
    world.seed(3)
    world.tick()
    world.sql("UPDATE tracer_version SET version_num = %(found)s", found=found)
    before = world.sql("SELECT * FROM polling"), world.rows()
    says = f"has revision {found}, and this Tracer needs {SCHEMA_REVISION}: "
    fix = "run `tracer db upgrade`" if found == "0001" else "update Tracer"
    with pytest.raises(BadInput, match=re.escape(says + fix)):
        poll(world.store, world.spawner, Event(), str, until_done=True)
    with pytest.raises(BadInput, match=re.escape(says + fix)):
        world.work()
    assert (world.sql("SELECT * FROM polling"), world.rows()) == before


def test_a_running_batch_survives_an_upgrade(world: World, url: str) -> None:
    """Rows in every state, at the first revision; the programs are started anew, as always."""
    world.seed(6, ["normalize", "step_a"])
    world.tick()
    ids = world.ids()
    world.work(ids=ids[:2])
    assert world.store.advance(world.store.now()) == 2
    held = world.worker.begin("normalize", ids[2:4])
    command.downgrade(config(url), "0001")
    upgrade_schema(url)
    (line,) = read_history(world.operator, world.operator.batch("batch"))
    assert (line["who"], line["verb"], line["rows"]) == ("unknown", "seed", 6)
    assert line["detail"] == {"blueprint": ["normalize", "step_a"], "priority": 0}
    results = [Normalized() for _ in held]
    assert world.worker.complete(held, results) == {("normalize", i) for i in ids[2:4]}
    for _ in range(4):
        world.tick()
        world.work()
        world.work("step_a")
    world.tick()
    assert world.statuses() == {"COMPLETED": 12}
    assert {row["attempt"] for row in world.rows()} == {1}
    batch = world.operator.batch("batch")
    assert (batch.status, batch.companies) == ("FINISHED", 6)
    assert [step["COMPLETED"] for step in views.progress(world.operator, batch)["steps"]] == [6, 6]


def test_spend_gets_the_client_of_its_batch_and_loses_no_sum(world: World, url: str) -> None:
    world.seed(1, name="anns", spending=Spending(client="ann"))
    world.seed(1, name="free")
    added = "INSERT INTO spend (day, batch, step_name, provider, bought, charged) VALUES"
    row = "('2026-01-31', %(batch)s, 'staff', 'acme', 2, 5)"
    command.downgrade(config(url), "0021")
    for batch in ("anns", "free", "deleted", ""):
        world.sql(f"{added} {row}", batch=batch)
    upgrade_schema(url)
    clients = world.sql("SELECT batch, client FROM spend WHERE client <> ''")
    assert clients == [{"batch": "anns", "client": "ann"}]
    world.sql(f"{added} {row}", batch="anns")  # the same day and batch, of no client
    command.downgrade(config(url), "0021")
    sums = world.sql("SELECT batch, bought, charged FROM spend ORDER BY batch")
    assert [tuple(found.values()) for found in sums] == [
        *(("", 2, 5), ("anns", 4, 10), ("deleted", 2, 5), ("free", 2, 5)),
    ]


def test_tables_of_before_can_be_written_at_once_after_an_upgrade(world: World, url: str) -> None:
    """Before any sync. Nor is a table touched that is no step's."""
    world.sql("CREATE TABLE results.notes (company_id int)")
    command.downgrade(config(url), "0016")
    before = names(url, COLUMNS)
    upgrade_schema(url)
    added = [f"{table}.{column}" for table in TABLE_NAMES for column in WRITTEN]
    special = tuple(f"{table}." for table in SPECIAL)
    kept = {name for name in names(url, COLUMNS) if name.startswith(special)}
    assert set(names(url, COLUMNS)) == {*before, *added, *kept}
    world.claimed(1)
    world.work()
    assert world.statuses() == {"COMPLETED": 1}


def test_a_sync_adds_to_a_table_what_tracer_writes_there(url: str) -> None:
    with psycopg.connect(url) as owner:
        for column in WRITTEN:
            owner.execute(f"ALTER TABLE results.step_a DROP COLUMN {column}".encode())
    added = [f"Column results.step_a.{column} added" for column in WRITTEN]
    assert sync_tables(url, TABLES) == added


def test_what_is_updated_often_has_room_on_its_page_and_is_vacuumed_early(world: World) -> None:
    (found,) = world.sql("SELECT reloptions FROM pg_class WHERE relname = 'workflow_states'")
    assert found["reloptions"] == ["fillfactor=70", "autovacuum_vacuum_scale_factor=0.02"]


FORMER = """
ALTER TABLE tracer_version RENAME TO alembic_version;
ALTER TABLE alembic_version RENAME CONSTRAINT tracer_version_pkc TO alembic_version_pkc
"""
# As another application's Alembic would.
FOREIGN = """
CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0003')
"""


def test_the_revision_moves_to_a_table_of_tracers_own(
    tracer: Terminal, world: World, url: str
) -> None:
    world.seed(3)
    command.downgrade(config(url), LAST_THERE)
    world.sql(FORMER)
    tracer("batches", code=2)
    assert "The schema is too old" in tracer.err
    tracer("db", "status", code=1)
    tracer("db", "upgrade")
    assert tracer.json("db", "status")["current"]
    assert tracer.json("batches")[0]["companies"] == 3
    world.sql(FOREIGN)
    tracer("db", "upgrade")
    assert "Schema: up to date" in tracer.err


def test_another_applications_revision_is_left_alone(tracer: Terminal, url: str) -> None:
    command.downgrade(config(url), "base")
    with psycopg.connect(url) as other:
        other.execute("DROP TABLE tracer_version")
        other.execute(FOREIGN)
    tracer("batches", code=2)
    assert "no Tracer schema yet" in " ".join(tracer.err.split())
    tracer("db", "upgrade")
    assert names(url, "SELECT version_num FROM alembic_version") == ["0003"]
    assert names(url, "SELECT version_num FROM tracer_version") == [SCHEMA_REVISION]


def test_another_applications_newer_revision_is_not_taken_for_one_of_tracer(
    tracer: Terminal, world: World
) -> None:
    world.sql("DROP TABLE tracer_version")
    world.sql(FOREIGN.replace("0003", "a1b2c3"))
    tracer("db", "upgrade", code=2)
    assert "`tracer_version` has lost the row" in " ".join(tracer.err.split())


@pytest.mark.parametrize("taken", ["TABLE companies (id int)", "SCHEMA results"])
def test_a_name_that_is_taken_is_one_sentence_and_nothing_is_half_made(
    tracer: Terminal, url: str, taken: str
) -> None:
    command.downgrade(config(url), "base")
    with psycopg.connect(url) as other:
        other.execute("DROP TABLE tracer_version")
        other.execute(f"CREATE {taken}".encode())
    before = names(url, HERE)
    tracer("db", "upgrade", code=2)
    name = taken.split()[1]
    says = f'Nothing was made, because another application is here: .* "{name}" already exists'
    assert re.match(says, " ".join(tracer.err.split()))
    assert names(url, HERE) == before


def test_a_migration_takes_its_time(url: str) -> None:
    """Under a limit, and while another one runs for longer than it."""
    command.downgrade(config(url), "0008")
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as owner:
        for limit in ("statement_timeout", "lock_timeout", "transaction_timeout"):
            owner.execute(f"ALTER DATABASE {name} SET {limit} = '100ms'".encode())
        with owner.transaction():
            owner.execute(SCHEMA_TURN)
            upgrade = Thread(target=upgrade_schema, args=(url,))
            upgrade.start()
            wait_until(lambda: names(url, WAITING) == [1])
            owner.execute("SELECT pg_sleep(0.3)")
        upgrade.join()
    assert names(url, "SELECT version_num FROM tracer_version") == [SCHEMA_REVISION]
