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
from reconciler.contract.database import connect, revision
from reconciler.contract.errors import BadInput
from reconciler.operator import views
from reconciler.operator.history import read_history
from reconciler.poll import poll
from reconciler.schema.domain_tables import sync_tables
from reconciler.schema.migrate import REVISIONS, upgrade_schema
from tests.standins.controlplane.terminal import ROOT
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
    assert names(url, HERE) == ["public.alembic_version"]
    upgrade_schema(url)
    sync_tables(url, TABLES)
    assert names(url, HERE) == before


def test_two_upgrades_of_an_empty_database_take_turns(url: str) -> None:
    before = names(url, HERE)
    command.downgrade(config(url), "base")
    with psycopg.connect(url) as turn:
        turn.execute("DROP TABLE alembic_version")
        turn.commit()
        turn.execute(SCHEMA_TURN)
        command_line = [sys.executable, "-c", "from cli import main; main()", "db", "upgrade"]
        environment = os.environ | {"DATABASE_URL": url}
        there = subprocess.Popen(command_line, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        here = Thread(target=upgrade_schema, args=(url,))  # alembic is for one thread of a process
        here.start()
        wait_until(lambda: names(url, WAITING) == [2])
    here.join()
    _, said = there.communicate()
    assert there.returncode == 0, said
    assert names(url, HERE) == before


def test_an_upgrade_that_is_not_needed_changes_nothing(url: str) -> None:
    assert upgrade_schema(url) == SCHEMA_REVISION


def test_a_newer_database_is_not_touched(url: str) -> None:
    with connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(BadInput, match="newer than this Tracer"):
            upgrade_schema(url)
        assert revision(connection) == "9999"


@pytest.mark.parametrize("found", ["0001", "9999"], ids=["older", "newer"])
def test_a_schema_that_moves_under_a_running_program_stops_it_before_it_writes(
    world: World, found: str
) -> None:
    world.seed(3)
    world.tick()
    world.sql("UPDATE alembic_version SET version_num = %(found)s", found=found)
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


def test_what_is_updated_often_has_room_on_its_page_and_is_vacuumed_early(world: World) -> None:
    (found,) = world.sql("SELECT reloptions FROM pg_class WHERE relname = 'workflow_states'")
    assert found["reloptions"] == ["fillfactor=70", "autovacuum_vacuum_scale_factor=0.02"]
