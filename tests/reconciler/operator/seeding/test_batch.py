"""What a seeding makes of its rows: companies once, the first row of a key, and nothing lost."""

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cli import seed as seed_command
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.operator.seeding.batch import Seeded, SeedRow, seed_batch
from reconciler.operator.seeding.delimited import texts_as_json
from reconciler.operator.store import OperatorStore
from tests.roles import role_world
from tests.system.machine.sides import line, side
from tests.terminal import SEED, Terminal
from tests.world import World

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
# Few keys, so that they repeat; and what COPY's text format writes in a way of its own.
KEYS = st.sampled_from(["a", "B", "\\N", "\\.", "\t", "\n", "\r\n", "\\", "é", "日本"])
ROWS = st.lists(
    st.tuples(
        *(KEYS, st.none() | TEXT, st.none() | TEXT),
        st.dictionaries(st.sampled_from(["x", "%s", 'q"']), TEXT | st.integers() | st.none()),
    ),
    max_size=8,
)
Company = tuple[str | None, str | None, dict[str, Any]]
EMPTY = "DELETE FROM batches; DELETE FROM companies"


def seeded(world: World, rows: list[Any], name: str = "batch") -> Seeded:
    """Seed rows of key, name, domain and attributes; they begin on line 2."""
    given = [(number, *row) for number, row in enumerate(rows, 2)]
    return seed_batch(world.operator, given, name=name, blueprint=["normalize"], columns=[])


def companies(world: World) -> dict[str, Company]:
    found = world.sql("SELECT key, name, domain, attributes FROM companies")
    return {row["key"]: (row["name"], row["domain"], row["attributes"]) for row in found}


def members(world: World, batch: str) -> list[str]:
    found = world.sql(
        "SELECT c.key FROM batches b JOIN batch_companies m ON m.batch_id = b.id"
        " JOIN workflow_states w ON (w.batch_id, w.company_id) = (m.batch_id, m.company_id)"
        " JOIN companies c ON c.id = m.company_id"
        " WHERE b.name = %(batch)s AND w.status = 'PENDING' AND w.position = 0",
        batch=batch,
    )
    return [row["key"] for row in found]


def learned(known: dict[str, Company], rows: list[Any]) -> dict[str, Company]:
    """What is known after rows, of which the first of a key counts."""
    after = dict(known)
    for key, name, domain, attributes in reversed(rows):
        old = known.get(key, (None, None, {}))
        after[key] = (
            old[0] if name is None else name,
            old[1] if domain is None else domain,
            old[2] | attributes,
        )
    return after


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_any_files_one_after_the_other(world: World, files: list[list[Any]]) -> None:
    world.sql(EMPTY)
    known: dict[str, Company] = {}
    for number, rows in enumerate(files):
        firsts: dict[str, int] = {}
        for place, row in enumerate(rows, 2):
            firsts.setdefault(row[0], place)
        if not rows:
            with pytest.raises(BadInput, match="no row of the file can be used"):
                seeded(world, rows)
            continue
        report = seeded(world, rows, f"batch {number}")
        after = learned(known, rows)
        assert companies(world) == after
        assert sorted(members(world, report.batch)) == sorted(firsts)
        new = len(after) - len(known)
        assert (report.companies_new, report.companies_known) == (new, len(firsts) - new)
        assert report.duplicates == [
            {"line": place, "key": row[0], "first_line": firsts[row[0]]}
            for place, row in enumerate(rows, 2)
            if place > firsts[row[0]]
        ]
        known = after


def test_a_known_company_that_teaches_nothing_is_left_as_it_was(world: World) -> None:
    rows = [("a", "A", None, {"x": "1"}), ("b", "B", None, {"x": "1"})]
    seeded(world, rows)
    versions = "SELECT key, ctid::text FROM companies ORDER BY key"
    a, b = world.sql(versions)
    seeded(world, [("a", None, None, {}), ("b", None, "b.com", {})])
    assert world.sql(versions)[0] == a
    assert world.sql(versions)[1] != b


@pytest.mark.parametrize("row", [("a", "\0", None, {}), ("a", "A", None, {"x": "\0"})])
def test_what_postgres_cannot_hold_is_said_and_leaves_nothing(
    world: World, row: tuple[Any, ...]
) -> None:
    with pytest.raises(WorkFailed, match="the database refused it"):
        seeded(world, [("b", "B", None, {}), row])
    assert companies(world) == {}
    assert world.sql("SELECT * FROM batches") == []


def test_two_seedings_at_once_take_turns(url: str, world: World) -> None:
    keys = [f"company-{number}" for number in range(2000)]
    both_staged = threading.Barrier(2, timeout=30)
    reports: list[Seeded] = []

    def rows(order: list[str]) -> Iterator[SeedRow]:
        yield from ((number, key, key, None, {}) for number, key in enumerate(order))
        both_staged.wait()

    def run(order: list[str]) -> None:
        with OperatorStore.connect(url) as operator:
            given = rows(order)
            seeded = seed_batch(operator, given, name="b", blueprint=["normalize"], columns=[])
            reports.append(seeded)

    threads = [threading.Thread(target=run, args=(order,)) for order in (keys, keys[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.batch for report in reports) == ["b", "b-2"]
    assert sorted(report.companies_new for report in reports) == [0, 2000]
    assert len(companies(world)) == 2000
    for report in reports:
        assert sorted(members(world, report.batch)) == sorted(keys)


def test_the_operators_role_may_all_of_it(url: str) -> None:
    with role_world(url) as world:
        seeded(world, [("a", "A", None, {"x": "1"})], "first")
        rows = [("a", None, "a.com", {}), ("b", None, None, {}), ("b", None, None, {})]
        report = seeded(world, rows, "second")
        assert (report.companies_new, report.companies_known) == (1, 1)
        assert companies(world)["a"] == ("A", "a.com", {"x": "1"})


def test_no_row_has_all_batches_read_to_see_that_its_own_is_there(url: str, world: World) -> None:
    world.sql(
        "INSERT INTO batches (name, blueprint)"
        """ SELECT 'old ' || n, '["normalize"]' FROM generate_series(1, 200) n"""
    )
    world.sql("ANALYZE batches")
    operator = side(OperatorStore, url)
    connection = line(operator).only
    connection.execute("BEGIN")
    rows = [(number, f"company-{number}", None, None, {}) for number in range(500)]
    seed_batch(operator, rows, name="new", blueprint=["normalize"], columns=[])
    read = connection.execute(
        "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'batches'"
    ).fetchone()
    operator.close()
    assert read
    assert read["seq_scan"] < 10


@given(st.lists(st.tuples(st.text(), st.text()), unique_by=lambda pair: pair[0]))
def test_texts_become_the_json_that_they_are(pairs: list[tuple[str, str]]) -> None:
    made = texts_as_json([name for name, _ in pairs])([text for _, text in pairs])
    assert made == json.dumps(dict(pairs))


def test_a_person_sees_what_is_read_and_what_postgres_does_with_it(
    tracer: Terminal, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(seed_command, "err", console)
    tracer("seed", file, *SEED)
    shown = screen.getvalue()
    places = [shown.index(f"Postgres {what}") for what in ("waits", "sorts companies in", "adds")]
    assert 0 <= shown.index("reading") < places[0] < places[1] < places[2]


def test_every_cell_of_a_table_comes_back(tracer: Terminal, tmp_path: Path, world: World) -> None:
    path = tmp_path / "odd.csv"
    cells = ["\\N", "a\tb", "c\r\nd", 'e"f', "100%s", "\\", "\u2028", "日本 ☃ 🏢", "\\u0000", ""]
    header = ["id", *(f"{number}%" for number in range(len(cells) - 1))]
    quoted = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in (header, cells)]
    path.write_bytes("\n".join(quoted).encode())
    tracer("seed", str(path), "--blueprint", "normalize")
    assert companies(world) == {"\\N": (None, None, dict(zip(header, cells, strict=True)))}
