"""What `tracer seed` says to a person: who the companies are, and what changes."""

from pathlib import Path

import pytest

from tests.terminal import SEED, Terminal
from tests.world import World

BLUEPRINT = ("--blueprint", "normalize")
LEADS = (
    "Company,Website,Phone\nAcme,https://www.acme.com/,\nACME,acme.com,555\n"
    "Bakery,info@gmail.com,\nCafe,linkedin.com/company/cafe,1\nDeli,,2\n"
)


@pytest.fixture
def leads(tmp_path: Path) -> str:
    path = tmp_path / "leads.csv"
    path.write_text(LEADS)
    return str(path)


def test_a_person_reads_what_identified_the_rows_and_what_became_of_duplicates(
    tracer: Terminal, leads: str
) -> None:
    tracer("seed", leads, *BLUEPRINT)
    said = " ".join(tracer.err.split())
    assert "Identified: 2 by domain, 1 by page, 2 by name (tried: 'Website', 'Company')." in said
    assert (
        "Line 3 is a duplicate: line 2 has the key 'acme.com'; fills Phone; not used: Company"
        " 'ACME' (kept: 'Acme'), Website 'acme.com' (kept: 'https://www.acme.com/')"
    ) in said


@pytest.mark.parametrize(
    ("duplicates", "phone", "counts"),
    [
        ("fill", "555", (1, 0)),
        ("first", "", (1, 0)),
        ("last", "555", (1, 0)),
        ("reject", "", (0, 1)),
    ],
)
def test_which_of_two_rows_counts_is_the_callers_choice(
    tracer: Terminal, world: World, leads: str, duplicates: str, phone: str, counts: tuple[int, int]
) -> None:
    report = tracer.json("seed", leads, *BLUEPRINT, "--duplicates", duplicates)
    assert (report["duplicates"], len(report["rejected"])) == counts
    (acme,) = world.sql("SELECT * FROM companies WHERE key = 'acme.com'")
    assert acme["attributes"]["Phone"] == phone
    assert report["rows"] == 5
    if duplicates == "reject":
        reason = "line 2 has the key 'acme.com' too"
        assert report["rejected"] == [{"line": 3, "reason": reason}]


def test_ids_of_two_systems_are_warned_of_and_kept_apart_by_source(
    tracer: Terminal, world: World, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("id,Company\n1,A\n")
    second.write_text("id,Company,Website\n1,Zebra,zebra.com\n")
    tracer("seed", str(first), *BLUEPRINT)
    before = world.sql("SELECT * FROM companies")
    report = tracer.json("seed", str(second), *BLUEPRINT, "--dry-run")
    assert (report["dry_run"], report["companies_changed"]) == (True, 1)
    assert report["changed_columns"] == {"Company": 1, "Website": 1}
    assert world.sql("SELECT * FROM companies") == before
    assert [row["name"] for row in tracer.json("batches")] == ["first"]
    tracer("seed", str(second), *BLUEPRINT, "--dry-run")
    assert "Nothing was written. Seeding this file would do this:" in tracer.err
    assert "Changed: 1 known company: Company (1), Website (1)." in tracer.err
    assert "1: Company is 'Zebra', was 'A'" in tracer.err
    assert "1: Website is 'zebra.com'\n" in tracer.err
    assert "1 was 'A', and is 'Zebra' now." in tracer.err
    assert "Watch it" not in tracer.err
    tracer("seed", str(second), *BLUEPRINT)
    shown = " ".join(tracer("history", "second").split())
    assert "seed second.csv --blueprint normalize --priority 0" in shown
    assert "(changed 1 known company)" in shown
    report = tracer.json("seed", str(second), *BLUEPRINT, "--source", "crm")
    assert (report["source"], report["companies_new"]) == ("crm", 1)
    keys = [row["key"] for row in world.sql("SELECT key FROM companies ORDER BY id")]
    assert keys == ["1", "crm:1"]


def test_a_person_sees_the_first_changes_and_how_many_there_are(
    tracer: Terminal, tmp_path: Path
) -> None:
    path = tmp_path / "many.csv"
    for value in "ab":
        path.write_text("id,x\n" + "".join(f"{number},{value}\n" for number in range(30)))
        tracer("seed", str(path), *BLUEPRINT)
    assert "Changed: 30 known companies: x (30)." in tracer.err
    assert tracer.err.count("x is 'b', was 'a'") == 20
    assert "… and 10 more; --json lists all." in tracer.err


def test_what_a_person_types_finds_the_company(tracer: Terminal, world: World, leads: str) -> None:
    tracer("seed", leads, *BLUEPRINT, "--name", "leads")
    world.sql(
        "UPDATE workflow_states SET status = 'FAILED', finished_at = now(), error = 'no',"
        " error_kind = 'raised'"
    )
    for typed, key in (
        ("www.acme.com", "acme.com"),
        ("HTTPS://ACME.COM/about", "acme.com"),
        ("https://de.linkedin.com/company/Cafe/", "linkedin.com/company/cafe"),
        (" Deli", "Deli"),
    ):
        found = tracer.json("inspect", "--company", typed)["company"]
        assert found["key"] == key
        assert tracer.json("explain", "leads", typed)["step"] == "normalize"
        assert tracer.json("retry", "leads", "--company", typed, "--yes")["rows"] in (0, 1)
    assert world.statuses() == {"FAILED": 1, "PENDING": 3}
    for typed, meant in (("bake", "Bakery"), ("www.deli.com", "Deli"), ("cafe", "linkedin.com")):
        tracer("explain", "leads", typed, code=2)
        assert f"Did you mean '{meant}" in " ".join(tracer.err.split())


def test_secrets_that_are_missing_are_said(world: World, tracer: Terminal, file: str) -> None:
    assert tracer.json("seed", file, *SEED)["missing_secrets"] == {}
    world.sql("UPDATE enrichment_registry SET env = '{NO_KEY}' WHERE step_name = 'step_a'")
    assert tracer.json("seed", file, *SEED)["missing_secrets"] == {"step_a": ["NO_KEY"]}
    tracer("seed", file, *SEED)
    assert "step_a needs NO_KEY, which is not set here: put it into .env" in " ".join(
        tracer.err.split()
    )
