"""What a seeding makes of its rows: companies once, each batch's own rows, and nothing lost."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from rich.console import Console

from cli import seed as seed_command
from reconciler.contract.attributes import over, says
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.operator.export import read_companies
from reconciler.operator.history import read_history
from reconciler.operator.seeding import companies as seeding_companies
from reconciler.operator.seeding.batch import Seeded, SeedRow, seed_batch
from reconciler.operator.seeding.companies import Duplicates
from reconciler.operator.seeding.delimited import texts_as_json
from reconciler.operator.sql.cells import WHITESPACE
from reconciler.operator.sql.cells import says as sql_says
from reconciler.operator.store import OperatorStore
from tests.roles import role_world
from tests.system.machine.sides import line, side
from tests.terminal import SEED, Terminal
from tests.world import STEPS, World

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
TABLES = {"normalize": STEPS["normalize"].table.__table__}  # type: ignore[attr-defined]
EMPTY = "DELETE FROM batches; DELETE FROM companies"


def seeded(
    world: World,
    rows: list[Any],
    name: str = "batch",
    duplicates: Duplicates = Duplicates.FILL,
) -> Seeded:
    """Seed rows of key, name, domain and attributes; they begin on line 2."""
    given = [(number, *row) for number, row in enumerate(rows, 2)]
    about: dict[str, Any] = {"name": name, "blueprint": ["normalize"], "columns": []}
    return seed_batch(world.operator, given, **about, duplicates=duplicates)


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


def settled(rows: list[Any], duplicates: Duplicates) -> dict[str, Company]:
    """The one row of each key."""
    found: dict[str, Company] = {}
    for key, *cells in rows:
        row = cells[0], cells[1], cells[2]
        if key in found and duplicates is Duplicates.FILL:
            kept = found[key]
            named = (a if a is not None else b for a, b in zip(kept[:2], row[:2], strict=True))
            found[key] = (*named, over(kept[2], row[2]))
        elif key not in found or duplicates is Duplicates.LAST:
            found[key] = row
    return found


def said(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in attributes.items() if says(cell)}


def learned(old: Company | None, row: Company, first: dict[str, Any]) -> Company:
    """What is known of a company after its row; a new one begins with the `first` of its rows."""
    if old is None:
        return row[0], row[1], first | said(row[2])
    name, domain = (old[i] if row[i] is None else row[i] for i in (0, 1))
    return name, domain, old[2] | said(row[2])


def exported(world: World, batch: str) -> dict[str, Company]:
    rows = read_companies(world.operator, world.operator.batch(batch), TABLES)
    return {row["key"]: (row["name"], row["domain"], row["attributes"]) for row in rows}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ROWS, st.sampled_from(Duplicates)), min_size=1, max_size=3))
def test_any_files_one_after_the_other(
    world: World, files: list[tuple[list[Any], Duplicates]]
) -> None:
    world.sql(EMPTY)
    known: dict[str, Company] = {}
    given: dict[str, dict[str, Company]] = {}
    for number, (rows, duplicates) in enumerate(files):
        if not rows:
            with pytest.raises(BadInput, match="no row of the file can be used"):
                seeded(world, rows)
            continue
        report = seeded(world, rows, f"batch {number}", duplicates)
        own = settled(rows, duplicates)
        ordered = rows[::-1] if duplicates is Duplicates.LAST else rows
        firsts = {row[0]: row[3] for row in reversed(ordered)}
        after = known | {key: learned(known.get(key), own[key], firsts[key]) for key in own}
        assert companies(world) == after
        assert sorted(members(world, report.batch)) == sorted(own)
        new = len(after) - len(known)
        assert (report.members.new, report.members.known) == (new, len(own) - new)
        assert report.members.changes.companies == sum(known[key] != after[key] for key in known)
        assert duplicates_of(report) == expected_duplicates(rows, duplicates)
        given[report.batch] = {key: after[key] if key not in known else own[key] for key in own}
        known = after
    for batch, own in given.items():
        assert exported(world, batch) == own


def duplicates_of(report: Seeded) -> list[tuple[int, str, int, int]]:
    names = ("line", "key", "first_line", "kept_line")
    return [tuple(row[name] for name in names) for row in report.members.duplicates]  # type: ignore[misc]


def expected_duplicates(rows: list[Any], duplicates: Duplicates) -> list[tuple[int, str, int, int]]:
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows, 2):
        places.setdefault(row[0], []).append(place)
    kept = {key: at[-1 if duplicates is Duplicates.LAST else 0] for key, at in places.items()}
    return [
        (place, row[0], places[row[0]][0], kept[row[0]])
        for place, row in enumerate(rows, 2)
        if place != kept[row[0]]
    ]


ACME = [
    ("acme.com", "Acme", None, {"Phone": "", "City": "Bonn", "Site": "acme.com"}),
    ("acme.com", "ACME", "acme.com", {"Phone": "555", "City": " ", "Site": "acme.com"}),
    ("acme.com", None, None, {"Phone": "777", "City": "Rome", "Site": None}),
]


@pytest.mark.parametrize(
    ("duplicates", "company", "notes"),
    [
        (
            Duplicates.FILL,
            ("Acme", "acme.com", {"Phone": "555", "City": "Bonn", "Site": "acme.com"}),
            [
                (["Phone"], {}),
                (
                    [],
                    {
                        "Phone": {"kept": "555", "dropped": "777"},
                        "City": {"kept": "Bonn", "dropped": "Rome"},
                    },
                ),
            ],
        ),
        (
            Duplicates.FIRST,
            ("Acme", None, {"Phone": "", "City": "Bonn", "Site": "acme.com"}),
            [
                ([], {"Phone": {"kept": "", "dropped": "555"}}),
                (
                    [],
                    {
                        "Phone": {"kept": "", "dropped": "777"},
                        "City": {"kept": "Bonn", "dropped": "Rome"},
                    },
                ),
            ],
        ),
        (
            Duplicates.LAST,
            (None, None, {"Phone": "777", "City": "Rome", "Site": None}),
            [
                (
                    [],
                    {
                        "City": {"kept": "Rome", "dropped": "Bonn"},
                        "Site": {"kept": None, "dropped": "acme.com"},
                    },
                ),
                (
                    [],
                    {
                        "Phone": {"kept": "777", "dropped": "555"},
                        "Site": {"kept": None, "dropped": "acme.com"},
                    },
                ),
            ],
        ),
    ],
)
def test_what_becomes_of_each_cell_of_a_duplicate_is_said(
    world: World, duplicates: Duplicates, company: Company, notes: list[Any]
) -> None:
    report = seeded(world, ACME, duplicates=duplicates)
    assert companies(world) == {"acme.com": company}
    assert [(row["filled"], row["differs"]) for row in report.members.duplicates] == notes


def test_an_empty_cell_never_overwrites_and_what_changes_is_said(world: World) -> None:
    row = {"Phone": "555", "City": "Bonn", "Note": "", "Size": 12345678901234567.5}
    seeded(world, [("a", "A", None, row), ("b", "B", None, {"Phone": "1"})])
    later = [
        ("a", None, None, {"Phone": " ", "City": None, "Note": "new", "More": ""}),
        ("b", "Zebra", "zebra.com", {"Phone": "2", "Note": "z"}),
        ("c", "C", None, {"Phone": ""}),
        ("c", "C", None, {"Phone": "3"}),
    ]
    changes = seeded(world, later).members.changes
    assert companies(world) == {
        "a": ("A", None, row | {"Note": "new"}),
        "b": ("Zebra", "zebra.com", {"Phone": "2", "Note": "z"}),
        "c": ("C", None, {"Phone": "3"}),
    }
    assert (changes.companies, changes.columns, changes.left_out) == (2, {"Note": 2, "Phone": 1}, 0)
    assert changes.cells == [
        {"key": "a", "column": "Note", "before": "", "after": "new"},
        {"key": "b", "column": "Note", "before": None, "after": "z"},
        {"key": "b", "column": "Phone", "before": "1", "after": "2"},
    ]
    (line,) = read_history(world.operator, world.operator.batch("batch-2"))
    assert line["detail"]["changed"] == 2


def test_a_name_or_a_domain_that_changes_alone_is_said_too(world: World) -> None:
    seeded(world, [("a", "A", "http://www.a.com", {"x": "1"})])
    changes = seeded(world, [("a", "A", "a.com", {"x": "1"})]).members.changes
    cell = {"key": "a", "column": "company.domain", "before": "http://www.a.com", "after": "a.com"}
    assert (changes.columns, changes.cells) == ({"company.domain": 1}, [cell])


def test_changes_that_are_not_listed_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding_companies, "SHOWN_CHANGES", 1)
    seeded(world, [("a", None, None, {"x": "1", "y": "1"}), ("b", None, None, {"x": "1"})])
    later = [("a", None, None, {"x": "2", "y": "2"}), ("b", None, None, {"x": "2"})]
    changes = seeded(world, later).members.changes
    assert (len(changes.cells), changes.left_out, changes.columns) == (1, 2, {"x": 2, "y": 1})


def test_a_batch_works_on_its_own_row_and_exports_it_whatever_comes_later(world: World) -> None:
    """Another file has a company of the same id, and other values."""
    seeded(world, [("1", "A", None, {"id": "1", "Company": "A"})], "first")
    zebra = {"id": "1", "Company": "Zebra", "Website": "zebra.com"}
    seeded(world, [("1", "Zebra", "zebra.com", zebra)], "second")
    world.tick()
    (attempt,) = world.worker.begin("normalize", world.ids())
    assert world.operator.batch("first").id == attempt.batch_id
    company = attempt.company
    assert (company.name, company.domain) == ("A", "zebra.com")
    assert company.attributes == zebra | {"Company": "A"}
    assert exported(world, "first") == {"1": ("A", None, {"id": "1", "Company": "A"})}
    assert exported(world, "second") == {"1": ("Zebra", "zebra.com", zebra)}


def test_a_worker_gets_what_is_known_where_its_batch_has_an_empty_cell(world: World) -> None:
    seeded(world, [("a", "A", "a.com", {"Phone": "555"})], "first")
    world.sql("UPDATE workflow_states SET status = 'CANCELLED', finished_at = now()")
    seeded(world, [("a", None, None, {"Phone": "", "City": ""})], "second")
    world.tick()
    (attempt,) = world.worker.begin("normalize", world.ids())
    company = attempt.company
    assert (company.name, company.domain) == ("A", "a.com")
    assert company.attributes == {"Phone": "555", "City": ""}
    assert exported(world, "second") == {"a": (None, None, {"Phone": "", "City": ""})}


def test_a_row_is_kept_once_where_the_company_has_it(world: World) -> None:
    rows = [("a", "A", None, {"x": "1", "y": ""}), ("b", "B", None, {"x": "1"})]
    seeded(world, rows, "first")
    seeded(world, rows, "again")
    own = "SELECT count(attributes)::int AS rows FROM batch_companies"
    assert world.sql(own) == [{"rows": 0}]
    seeded(world, [("a", "A", None, {"x": "2", "y": ""})], "changed")
    assert world.sql(own) == [{"rows": 2}]


def test_rows_of_many_columns_are_compared_in_linear_time(world: World) -> None:
    """With a look-up for each cell, these took a minute and more."""
    first, later = ({f"column {n}": value for n in range(40_000)} for value in "ab")
    seeded(world, [("a", None, None, first)])
    started = time.monotonic()
    members = seeded(world, [("a", None, None, later), ("a", None, None, first)]).members
    assert time.monotonic() - started < 15
    assert len(members.duplicates[0]["differs"]) == len(members.changes.columns) == 40_000


VALUES = st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2)
BLANKS = st.text(st.sampled_from(f"{WHITESPACE}\u200ba"), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES | BLANKS, max_size=20))
def test_postgres_and_python_agree_on_which_cells_say_something(
    world: World, cells: list[Any]
) -> None:
    assert "".join(char for char in map(chr, range(1, 0x10000)) if char.isspace()) == WHITESPACE
    query = f"SELECT {sql_says('value')} AS says FROM jsonb_array_elements(%(cells)s)"
    found = world.sql(query, cells=Jsonb(cells))
    assert [row["says"] for row in found] == [says(cell) for cell in cells]


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
    assert sorted(report.members.new for report in reports) == [0, 2000]
    assert len(companies(world)) == 2000
    for report in reports:
        assert sorted(members(world, report.batch)) == sorted(keys)


def test_the_operators_role_may_all_of_it(url: str) -> None:
    with role_world(url) as world:
        seeded(world, [("a", "A", None, {"x": "1"})], "first")
        rows = [("a", None, "a.com", {}), ("b", None, None, {}), ("b", None, None, {})]
        report = seeded(world, rows, "second")
        assert (report.members.new, report.members.known) == (1, 1)
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
