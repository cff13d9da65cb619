"""What a person gets wrong: one clear sentence, the right exit code, and nothing lost."""

import re
from pathlib import Path

import psycopg
import pytest

from reconciler.operator.diagnosis.reason import Code
from tests.terminal import HEADER, SEED, Terminal
from tests.world import World

BAD = {
    "unknown step": (["seed", "{file}", "--blueprint", "normalise"], "Did you mean 'normalize'?"),
    "no step": (["seed", "{file}", "--blueprint", ","], "Place 1 of the blueprint is empty"),
    "a step twice": (["seed", "{file}", "--blueprint", "step_a,step_a"], "names step_a twice"),
    "no such file": (["seed", "nowhere.csv", "--blueprint", "step_a"], "nowhere.csv"),
    "no such column": (
        ["seed", "{file}", "--blueprint", "step_a", "--key", "Cik Number"],
        "Cik Number",
    ),
    "a bad mapping": (["seed", "{file}", "--blueprint", "step_a", "--map", "x"], "FIELD=COLUMN"),
    "no such batch": (["inspect", "nope"], "There is no batch 'nope'"),
    "no such batch to export": (["export", "nope"], "There is no batch 'nope'"),
    "no such step to tune": (["steps", "set", "nope", "chunk_size=1"], "no step 'nope'"),
    "no such setting": (["steps", "set", "step_a", "chunksize=1"], "did you mean chunk_size?"),
    "a value of another kind": (["steps", "set", "step_a", "chunk_size=many"], "chunk_size"),
    "a value out of range": (["steps", "set", "step_a", "chunk_size=0"], "chunk_size"),
    "no duration": (["interval", "set", "--poll", "often"], "is not a duration"),
    "nothing to set": (["interval", "set"], "--poll, --idle or --every"),
    "idle below poll": (["interval", "set", "--poll", "5", "--idle", "1"], "not below the poll"),
    "neither once nor until done": (["reconcile"], "--once or --until-done"),
    "no such option": (["batches", "--nope"], "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence_and_exit_code_2(
    tracer: Terminal, file: str, case: str
) -> None:
    arguments, says = BAD[case]
    tracer(*(argument.format(file=file) for argument in arguments), code=2)
    assert says in " ".join(tracer.err.split())


def test_a_company_that_the_batch_does_not_have(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    tracer("inspect", "b", "--company", "1", code=2)
    assert "no company with the key '1'" in tracer.err


def test_nothing_is_seeded_when_no_row_can_be_used(
    tracer: Terminal, tmp_path: Path, world: World
) -> None:
    path = tmp_path / "useless.csv"
    path.write_text(HEADER + ",,\n")
    tracer("seed", str(path), *SEED, code=2)
    assert world.sql("SELECT * FROM batches") == []


def test_damage_found_half_way_leaves_nothing_behind(
    tracer: Terminal, tmp_path: Path, world: World
) -> None:
    path = tmp_path / "damaged.csv"
    rows = "".join(f"Name {i},x{i}.com,{i}\n" for i in range(20_000))
    path.write_bytes((HEADER + rows).encode() + b"Caf\xe9,cafe.com,1\n")
    tracer("seed", str(path), *SEED, code=2)
    assert "--encoding windows-1252" in " ".join(tracer.err.split())
    assert world.sql("SELECT * FROM companies") == []
    tracer("seed", str(path), *SEED, "--encoding", "windows-1252")
    assert len(world.ids()) == 20_000


@pytest.mark.parametrize("command", [["batches"], ["db", "upgrade"], ["reconcile", "--once"]])
def test_a_database_that_cannot_be_reached_is_exit_code_3(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    secret = "postgresql://user:hunter2@127.0.0.1:9/tracer"
    monkeypatch.setenv("DATABASE_URL", secret)
    tracer(*command, code=3)
    says = "Cannot reach the database tracer at 127.0.0.1:9: Connection refused. Start it,"
    assert says in " ".join(tracer.err.split())
    assert "hunter2" not in tracer.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE tracer_version SET version_num = '0000'", "run `tracer db upgrade`"),
        ("UPDATE tracer_version SET version_num = '9999'", "update Tracer"),
        (
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
            "no Tracer schema yet: run `tracer db",
        ),
    ],
)
def test_another_schema_is_refused_before_anything_is_written(
    tracer: Terminal, world: World, file: str, change: str, says: str
) -> None:
    world.sql(change)
    commands = ["batches"], ["seed", file, *SEED], ["reconcile", "--once"], ["steps", "sync"]
    for command in commands:
        tracer(*command, code=2)
        assert says in " ".join(tracer.err.split())


@pytest.mark.parametrize("change", ["DELETE FROM tracer_version", "DROP TABLE tracer_version"])
def test_a_revision_that_was_deleted_can_be_written_again(
    tracer: Terminal, world: World, change: str
) -> None:
    world.sql(change)
    for command in ["batches"], ["db", "status"], ["db", "upgrade"], ["reconcile", "--once"]:
        tracer(*command, code=2)
        assert "`tracer_version` has lost the row" in " ".join(tracer.err.split())
    found = {part["part"]: part for part in tracer.json("doctor", code=1)}["schema"]
    assert found["code"] == Code.SCHEMA_DAMAGED
    for statement in re.findall('-c "(.*?)"', found["fix"]):
        world.sql(statement)
    tracer("db", "upgrade")
    assert "Schema: up to date" in tracer.err


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_hold_every_name_is_refused(
    tracer: Terminal, url: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    other = f"in_{encoding.lower()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {other} ENCODING {encoding} LOCALE 'C' TEMPLATE template0")
    monkeypatch.setenv("DATABASE_URL", re.sub(r"/test_\d+", f"/{other}", url))
    for command in (["db", "upgrade"], ["steps", "sync"], ["batches"]):
        tracer(*command, code=2)
        assert f"is encoded in {encoding}" in " ".join(tracer.err.split())


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_the_encoding_of_the_callers_terminal_is_nothing_to_us(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    tracer("db", "upgrade")
    path = tmp_path / "names.csv"
    path.write_text(f"{HEADER}Яндекс & Müller,ya.ru,1\n", encoding="utf-8")
    tracer("seed", str(path), *SEED, "--name", "names")
    assert "Яндекс & Müller" in tracer("export", "names")


def test_a_setting_that_cannot_be_used_is_named(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACER_WORKERS", "cloud")
    tracer("batches", code=2)
    assert "TRACER_WORKERS" in tracer.err


@pytest.mark.parametrize("command", [["batches"], ["init", "leads"], ["up"], ["doctor"]])
def test_a_working_directory_that_was_deleted_is_named(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    tracer(*command, code=2)
    assert tracer.err == "The working directory was deleted: change to another one.\n"
