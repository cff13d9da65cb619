"""The command line: what it prints, where, and its exit codes."""

import re
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cli.render import out
from reconciler.contract.store import Store
from reconciler.tick import tick
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.terminal import FILE, SEED, Terminal
from tests.world import Scripted, World, finish


def test_seed_reports_every_row_and_column(tracer: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "messy.csv"
    path.write_text(FILE + "No Key,nokey.com,\nthree,cells\n3M again,3m.com,66740\n")
    report = tracer.json("seed", str(path), *SEED, "--name", "messy")
    assert report == {
        "batch": "messy",
        "rows": 5,
        "companies_new": 2,
        "companies_known": 0,
        "companies_changed": 0,
        "companies_unapproved": 0,
        "changed_columns": {},
        "changes": [],
        "changes_left_out": 0,
        "duplicates": 1,
        "duplicate_rows": [
            {
                "line": 6,
                "key": "66740",
                "first_line": 2,
                "kept_line": 2,
                "filled": [],
                "differs": {
                    "Security": {"kept": "3M", "dropped": "3M again"},
                    "Company Website Full": {"kept": "https://www.3m.com/", "dropped": "3m.com"},
                },
            }
        ],
        "skipped_lines": 0,
        "rejected": [
            {"line": 4, "reason": "no value in key column 'CIK'"},
            {"line": 5, "reason": "2 fields, the header has 3"},
        ],
        "columns": {
            "mapped": {"key": "CIK", "name": "Security", "domain": "Company Website Full"},
            "attributes": ["Security", "Company Website Full", "CIK"],
            "keys": ["CIK"],
        },
        "source": None,
        "identified_by": {"key": 3, "domain": 0, "page": 0, "name": 0},
        "identified_by_column": {"CIK": 3},
        "cap": None,
        "client": None,
        "buy": [],
        "plan": None,
        "missing_secrets": {},
        "dry_run": False,
    }


def test_seed_keeps_every_column_and_maps_by_itself(
    tracer: Terminal, file: str, world: World
) -> None:
    tracer("seed", file, *SEED)
    company = world.sql("SELECT * FROM companies WHERE key = '66740'")[0]
    assert (company["name"], company["domain"]) == ("3M", "3m.com")
    assert company["attributes"] == {
        "Security": "3M",
        "Company Website Full": "https://www.3m.com/",
        "CIK": "66740",
    }
    assert "domain = 'Company Website Full'" in tracer.err


def test_seeding_twice_makes_a_second_batch_over_the_same_companies(
    tracer: Terminal, file: str, world: World
) -> None:
    assert tracer.json("seed", file, *SEED)["batch"] == "companies"
    second = tracer.json("seed", file, *SEED)
    assert (second["batch"], second["companies_new"], second["companies_known"]) == (
        "companies-2",
        0,
        2,
    )
    assert len(world.ids()) == 2
    assert [row["name"] for row in tracer.json("batches")] == ["companies", "companies-2"]


def test_a_known_company_learns_and_forgets_nothing(
    tracer: Terminal, file: str, tmp_path: Path, world: World
) -> None:
    more = tmp_path / "more.csv"
    more.write_text("CIK,Founded\n66740,1902\n")
    tracer("seed", file, *SEED)
    tracer("seed", str(more), "--blueprint", "normalize", "--key", "CIK")
    company = world.sql("SELECT * FROM companies WHERE key = '66740'")[0]
    assert company["name"] == "3M"
    assert company["attributes"]["Founded"] == "1902"
    assert company["attributes"]["Security"] == "3M"


def test_inspect_has_the_agreed_fields(tracer: Terminal, file: str, world: World) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    finish(world)
    found = tracer.json("inspect", "b")
    counts = {"PENDING": 0, "QUEUED": 0, "IN_PROGRESS": 0, "COMPLETED": 2}
    counts |= {"NOT_FOUND": 0, "SKIPPED": 0, "FAILED": 0, "CANCELLED": 0}
    counts |= {"not_asked": 0, "tried": 2, "hit_rate": 1.0, "per_hit": None}
    counts |= {"past": None}
    assert found["steps"] == [{"step": s, **counts} for s in ("normalize", "step_a")]
    assert (found["batch"], found["status"], found["companies"]) == ("b", "FINISHED", 2)
    assert (found["failures"], found["eta_s"]) == ([], 0)
    assert found["rate_per_s"] > 0


def test_inspect_shows_a_person_the_bars_and_the_failures(
    tracer: Terminal, file: str, world: World
) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    world.tick()
    world.sql(
        "UPDATE workflow_states SET error = 'HTTP 500 [red]oops[/red]', error_kind = 'raised'"
    )
    shown = tracer("inspect", "b")
    assert "RUNNING" in shown
    assert "░ pending" in shown
    assert re.search(r"normalize +▓+ +0 +2 +0 +0", shown)
    assert "HTTP 500 [red]oops[/red]" in shown


def test_data_does_not_steer_the_terminal(tracer: Terminal, tmp_path: Path, world: World) -> None:
    path = tmp_path / "colours.csv"
    path.write_text("name,domain\n\x1b[31mred\x07,a.com\n")
    tracer("seed", str(path), "--blueprint", "normalize", "--name", "\x1b]0;title\x07")
    world.sql("UPDATE workflow_states SET error = '\x1b[2J', error_kind = 'raised'")
    name = "\x1b]0;title\x07"
    shown = tracer("inspect", name, "--company", "a.com") + tracer("inspect", name)
    shown += tracer("batches")
    assert "\x1b" not in shown
    assert "\\x1b[31mred\\x07" in shown


def test_what_a_file_is_called_and_has_for_names_forges_no_line(
    tracer: Terminal, tmp_path: Path
) -> None:
    seed = tmp_path / "a; rm -rf ~.csv"
    header = ["domain", '"x\nWatch it: forged"', "\u202egpj", "y" * 999]
    names = ",".join([*header, *(f"n{number}" for number in range(100))])
    seed.write_text(f"{names}\na.com{',' * 103}\n")
    tracer("seed", str(seed), "--blueprint", "normalize")
    *_, last = tracer.err.splitlines()
    assert last == "Watch it: tracer inspect --watch 'a; rm -rf ~'"
    assert "\nWatch it: forged" not in tracer.err
    assert r"\u202egpj" in tracer.err
    assert len(tracer.err) < 3000
    assert "44 more; --json lists all" in " ".join(tracer.err.split())


def test_a_priority_that_no_column_takes_is_wrong_usage(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED, "--name", "b", "--priority", str(2**31), code=2)
    assert "--priority" in tracer.err
    assert tracer.json("batches") == []


def test_a_database_with_another_datestyle_is_read(tracer: Terminal, file: str, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET datestyle = 'German'").format(name))
    tracer("seed", file, *SEED, "--name", "b")
    with Store.connect(url) as store:
        assert tick(store, Scripted(), store.now()).claimed == 2
    (found,) = tracer.json("batches")
    assert datetime.fromisoformat(found["created_at"]).tzinfo


def test_watch_ends_when_the_batch_is_done(tracer: Terminal, file: str, world: World) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    finish(world)
    assert "FINISHED" in tracer("inspect", "b", "--watch")


def test_the_timeline_of_one_company(tracer: Terminal, file: str, world: World) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    finish(world)
    found = tracer.json("inspect", "b", "--company", "320193")
    assert found["company"]["name"] == "Apple Inc."
    assert [row["step"] for row in found["timeline"]] == ["normalize", "step_a"]
    assert "Apple Inc." in tracer("inspect", "b", "--company", "320193")


def test_steps_show_what_they_need_where_one_needs_something(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_width", 200)
    assert "needs" not in tracer("steps")
    world.operator.sync_step("step_b", "tracer", {}, {"needs": ["normalize", "step_a"]})
    assert [row["needs"] for row in tracer.json("steps")] == [[], [], ["normalize", "step_a"]]
    shown = tracer("steps")
    assert "needs" in shown
    assert shown.rstrip().endswith("normalize, step_a")
    tracer("steps", "set", "step_b", "needs=step_a", code=2)
    assert "is not a KEY=VALUE of a step" in tracer.err


def test_steps_are_shown_and_tuned(tracer: Terminal) -> None:
    assert [row["step_name"] for row in tracer.json("steps")] == ["normalize", "step_a", "step_b"]
    tracer("steps", "set", "step_a", "max_in_flight=7", "enabled=false", "backoff_s=1.5")
    row = tracer.json("steps")[1]
    assert (row["max_in_flight"], row["enabled"], row["backoff_s"]) == (7, False, 1.5)


def test_a_tuned_step_survives_a_sync(tracer: Terminal) -> None:
    tracer("steps", "set", "step_a", "chunk_size=3")
    tracer("steps", "sync")
    assert tracer.err == "Steps: up to date\n"
    assert tracer.json("steps")[1]["chunk_size"] == 3


def test_intervals_are_set_and_shown_even_without_prefect(tracer: Terminal) -> None:
    tracer("interval", "set", "--poll", "500ms", "--idle", "1m")
    found = tracer.json("interval")
    assert (found["poll_s"], found["idle_s"], found["paused"]) == (0.5, 60, False)
    assert "127.0.0.1:9" in found["schedule"]["error"]
    assert "0.5 s" in tracer("interval")


def test_pause_holds_the_loop_though_prefect_is_away(tracer: Terminal, tmp_path: Path) -> None:
    tracer("interval", "pause")
    assert "Prefect's schedule could not be changed" in tracer.err
    assert tracer.json("interval")["paused"]
    with listening(tmp_path / "home"):
        tracer("reconcile", "--once")
    assert "Polling is paused" in tracer.err


def test_reconcile_takes_a_batch_to_its_end_without_prefect_and_answers_one_document(
    tracer: Terminal, file: str
) -> None:
    tracer("interval", "set", "--poll", "0.05")
    tracer("seed", file, *SEED, "--name", "b")
    found = tracer.json("reconcile", "--until-done")
    assert (found["left"], found["spawned"], found["finished"]) == ("done", 4, 1)
    assert [s["COMPLETED"] for s in tracer.json("inspect", "b")["steps"]] == [2, 2]


def test_one_tick_and_the_workers_it_started_finish_before_reconcile_ends(
    tracer: Terminal, file: str
) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    assert tracer.json("reconcile", "--once")["claimed"] == 2
    assert tracer.json("inspect", "b")["steps"][0]["COMPLETED"] == 2


def test_status_says_that_the_schema_is_current(tracer: Terminal) -> None:
    found = tracer.json("db", "status")
    assert found["current"]


def test_one_of_a_thing_is_said_as_one(tracer: Terminal, tmp_path: Path, world: World) -> None:
    path = tmp_path / "one.csv"
    path.write_text("name,domain\nAcme,acme.com\nAcme,acme.com\nAcme\n")
    tracer("seed", str(path), "--blueprint", "normalize")
    said = " ".join(tracer.err.split())
    assert "3 rows, 1 company new, 0 known, 1 duplicate, 1 rejected." in said
    assert "Rejected line 4: 1 field, the header has 2" in said
    assert "1 company" in tracer("inspect", "one").splitlines()[0]
    world.tick()
    tracer("pause", "one")
    assert "0 rows pending, 1 in flight goes on" in " ".join(tracer.err.split())
    tracer("export", "one")
    assert tracer.err == "1 company exported.\n"
