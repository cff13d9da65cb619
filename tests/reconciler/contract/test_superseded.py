"""What becomes of a result when another batch works the company again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.contract.results import StepResult
from reconciler.contract.worker_statements import complete_statement, row_arrays
from reconciler.contract.worker_store import Attempt
from reconciler.schema.domain_tables import sync_tables
from tests.world import STEPS, World, work
from workers.steps.normalize import Normalized

KEPT = """
SELECT company_id, table_name, batch_id, version, result ->> 'domain' AS domain
FROM results.superseded ORDER BY superseded_at, company_id
"""
SHOWN = "SELECT company_id, domain, written_for FROM results.normalized ORDER BY company_id"


class Awkward(StepResult, table=True):
    """Fields with the names that COMPLETE itself uses."""

    __tablename__ = "awkward"
    old: str | None = None
    new: str | None = None
    there: str | None = None
    won: int | None = None
    batch_id: int | None = None
    version: str | None = None
    result: str | None = None
    replaces: bool | None = None


class Fieldless(StepResult, table=True):
    __tablename__ = "fieldless"


def begun(world: World, batch: str, companies: int | Sequence[str] = 1) -> list[Attempt]:
    """The attempts of a batch whose companies are all begun."""
    world.seed(companies, name=batch)
    world.tick()
    attempts = world.worker.begin("normalize", world.ids())
    return sorted(attempts, key=lambda attempt: attempt.company.id)


def complete(world: World, batch: str, *results: StepResult, version: str = "v1") -> None:
    """A batch of as many companies, worked to its end."""
    attempts = begun(world, batch, len(results))
    assert len(world.worker.complete(attempts, results, version)) == len(results)
    world.tick()


def shown(world: World) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in world.sql(SHOWN)]


def kept(world: World) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in world.sql(KEPT)]


def test_a_first_result_says_where_it_is_from_and_takes_no_other_s_place(world: World) -> None:
    complete(world, "first", Normalized(domain="a"), version="abc")
    (row,) = world.sql("SELECT written_for, written_with FROM results.normalized")
    assert row == {"written_for": world.operator.batch("first").id, "written_with": "abc"}
    assert kept(world) == []


def test_a_later_result_takes_the_place_of_an_earlier_one_which_is_kept(world: World) -> None:
    complete(world, "first", Normalized(domain="a"), version="v1")
    (before,) = world.sql("SELECT written_at FROM results.normalized")
    complete(world, "second", Normalized(domain="b"), version="v2")
    assert shown(world) == [(1, "b", 2)]
    assert kept(world) == [(1, "normalized", 1, "v1", "a")]
    (row,) = world.sql("SELECT written_at, superseded_at, result FROM results.superseded")
    assert row["written_at"] == before["written_at"] < row["superseded_at"]
    assert row["result"] == {"domain": "a", "short_name": None, "legal_form": None}


def test_nothing_does_not_take_the_place_of_something_and_is_kept_itself(world: World) -> None:
    complete(world, "first", Normalized(domain="a"), version="v1")
    complete(world, "second", Normalized(), version="v2")
    assert shown(world) == [(1, "a", 1)]
    assert kept(world) == [(1, "normalized", 2, "v2", None)]
    assert world.statuses() == {"COMPLETED": 2}
    complete(world, "third", Normalized(domain="c"), version="v3")
    assert shown(world) == [(1, "c", 3)]
    assert kept(world)[1:] == [(1, "normalized", 1, "v1", "a")]


def test_nothing_takes_the_place_of_nothing(world: World) -> None:
    complete(world, "first", Normalized())
    complete(world, "second", Normalized())
    assert shown(world) == [(1, None, 2)]
    assert kept(world) == [(1, "normalized", 1, "v1", None)]


def test_each_company_of_a_call_goes_its_own_way(world: World) -> None:
    complete(world, "first", *(Normalized(domain=f"a{n}") for n in range(2)))
    complete(world, "second", Normalized(domain="b0"), Normalized(), Normalized(domain="b2"))
    assert [row[1:] for row in shown(world)] == [("b0", 2), ("a1", 1), ("b2", 2)]
    assert kept(world) == [(1, "normalized", 1, "v1", "a0"), (2, "normalized", 2, "v1", None)]


def test_an_attempt_that_is_not_won_writes_and_keeps_nothing(world: World) -> None:
    """Nor does it beside one that is won and comes again."""
    complete(world, "first", Normalized(domain="a0"), Normalized(domain="a1"))
    won, stale = begun(world, "second", 2)
    results = [Normalized(domain="b0"), Normalized(domain="b1")]
    attempts = [won, replace(stale, attempt=stale.attempt + 1)]
    assert world.worker.complete(attempts, results) == {("normalize", 1)}
    assert shown(world) == [(1, "b0", 2), (2, "a1", 1)]
    assert kept(world) == [(1, "normalized", 1, "v1", "a0")]


def test_first_results_are_read_once_and_no_table_is_looked_at(world: World) -> None:
    attempts = begun(world, "first", 3)
    results = [{"company_id": attempt.company.id, "domain": "a"} for attempt in attempts]
    values = row_arrays(attempts) | {"rows": json.dumps(results), "version": "v1"}
    explain = sql.SQL("EXPLAIN (ANALYZE, COSTS OFF) ") + complete_statement(Normalized)
    plan = [row["QUERY PLAN"] for row in world.worker.rows(explain, **values)]
    scans = [line for line in plan if "Scan on json_to_recordset" in line]
    assert [("never executed" in line) for line in scans] == [False, True]
    assert [row[1] for row in shown(world)] == ["a"] * 3


def test_a_row_of_before_is_kept_without_a_batch(world: World) -> None:
    world.sql("INSERT INTO results.normalized (company_id, domain) VALUES (1, 'old')")
    complete(world, "first", Normalized(domain="a"))
    assert kept(world) == [(1, "normalized", None, None, "old")]


def test_what_the_class_has_no_longer_is_kept_with_its_row(world: World) -> None:
    world.sql("ALTER TABLE results.normalized ADD COLUMN fax text")
    world.sql("INSERT INTO results.normalized (company_id, fax) VALUES (1, '+49')")
    complete(world, "first", Normalized(domain="a"))
    (row,) = world.sql("SELECT result ->> 'fax' AS fax FROM results.superseded")
    assert row == {"fax": "+49"}


@pytest.mark.parametrize("table", [Awkward, Fieldless])
def test_any_table_has_a_history(world: World, url: str, table: type[StepResult]) -> None:
    sync_tables(url, [table])
    values = {n: True if n == "replaces" else "1" for n in ("old", "new", "there", "replaces")}
    values |= {"won": 7, "batch_id": 8, "version": "mine", "result": "r"}
    given = values if table is Awkward else {}
    for batch in ("first", "second"):
        complete(world, batch, table(**given))
    name = str(table.__tablename__)
    (row,) = world.sql(f"SELECT * FROM results.{name}")
    assert row["written_for"] == 2
    assert {key: row[key] for key in given} == given
    (before,) = world.sql("SELECT table_name, batch_id, result FROM results.superseded")
    assert before == {"table_name": name, "batch_id": 1, "result": given}


def test_what_another_session_is_just_writing_is_waited_for_and_replaced(
    world: World, url: str
) -> None:
    """No verb does so. Green means landed, whatever a person does by hand."""
    attempts = begun(world, "first")
    with psycopg.connect(url) as other:
        other.execute("INSERT INTO results.normalized (company_id, domain) VALUES (1, 'theirs')")
        ours = (attempts, [Normalized(domain="ours")])
        done = Thread(target=world.worker.complete, args=ours)
        done.start()
        world.wait_for_blocked()
        other.commit()
        done.join()
    assert shown(world) == [(1, "ours", 1)]


def test_a_worker_writes_the_version_of_its_step(world: World) -> None:
    world.claimed(2)
    world.work()
    found = world.sql("SELECT DISTINCT written_with FROM results.normalized")
    assert found == [{"written_with": STEPS["normalize"].version}]
    assert work(world.worker, STEPS["normalize"], world.ids()).begun == 0
