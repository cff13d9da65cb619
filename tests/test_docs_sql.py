"""The statements of the page on SQL run, and what they show is what the page says."""

import re
from pathlib import Path

import pytest

from tests.test_docs import blocks
from tests.world import World, finish

PAGE = "docs/sql.md"
STATEMENTS = [
    statement.strip()
    for block in blocks(PAGE, "sql")
    for statement in block.split(";")
    if statement.strip()
]
SOURCE = re.compile(r"\{\{ source\('(\w+)', '(\w+)'\) \}\}")
VIEW = """
SELECT column_name AS name FROM information_schema.columns
WHERE table_schema = %(schema)s AND table_name = %(table)s
"""


@pytest.fixture
def seeded(world: World) -> World:
    """A batch `leads` that is done, and a second one over one of its companies."""
    world.seed(["acme.com", "b.com"], ["normalize", "step_a"], name="leads")
    finish(world)
    world.seed(["acme.com"], name="again")
    finish(world)
    return world


def test_every_statement_runs(seeded: World) -> None:
    with seeded.operator.transaction() as connection:
        for statement in STATEMENTS:
            connection.execute(statement.encode())
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")
    assert len(STATEMENTS) == 9


def test_what_they_show(seeded: World) -> None:
    per_status, export, own, older = [
        seeded.sql(text) for text in STATEMENTS if text.startswith("SELECT")
    ]
    assert sorted((row["step"], row["status"], row["count"]) for row in per_status) == [
        ("normalize", "COMPLETED", 2),
        ("step_a", "COMPLETED", 2),
    ]
    assert {row["key"]: row["domain"] for row in export} == {
        "acme.com": "example.com",
        "b.com": "example.com",
    }
    assert [row["key"] for row in own] == ["b.com"], "the other is from the second batch"
    assert [row["domain"] for row in older] == ["example.com"]


def test_the_model_for_dbt(seeded: World) -> None:
    (model,) = blocks(PAGE, "jinja")
    places = {"tracer": "public", "results": "results"}
    text = SOURCE.sub(lambda found: f"{places[found[1]]}.{found[2]}", model)
    assert {row["key"]: row["attribute_count"] for row in seeded.sql(text)} == {
        "acme.com": 1,
        "b.com": 1,
    }


@pytest.mark.parametrize(
    ("schema", "table", "heading"),
    [
        ("public", "tracer_rows", "## The rows of a batch"),
        ("results", "superseded", "## Older results"),
    ],
)
def test_every_column_is_in_its_table(world: World, schema: str, table: str, heading: str) -> None:
    page = (Path(__file__).parent.parent / PAGE).read_text()
    part = page.partition(heading)[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(cells))
    assert named == [row["name"] for row in world.sql(VIEW, schema=schema, table=table)]
