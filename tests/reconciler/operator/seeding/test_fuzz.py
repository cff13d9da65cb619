"""Any file at all: `tracer seed` reports or refuses it, and a batch is whole or not there."""

import csv
import io
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.terminal import Terminal
from tests.world import World

FUZZED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CELLS = st.text(max_size=12)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def seed(tracer: Terminal, world: World, tmp: str, content: bytes) -> None:
    """Seed it, and check that the report and the database say the same."""
    with open(tmp, "wb") as file:  # noqa: PTH123 - a path of text is what the command gets
        file.write(content)
    world.sql("DELETE FROM batches")
    before = world.sql("SELECT count(*) AS n FROM companies")[0]["n"]
    code = tracer.run("seed", tmp, "--blueprint", "normalize", "--json")
    after = world.sql("SELECT count(*) AS n FROM companies")[0]["n"]
    batches = world.sql("SELECT * FROM batches")
    assert code in (0, 2)
    if code:
        assert (after, batches) == (before, [])
        assert tracer.err.strip()
        return
    report = json.loads(tracer.out)
    assert len(batches) == 1
    assert after - before == report["companies_new"]
    members = report["companies_new"] + report["companies_known"]
    assert len(world.rows()) == members
    assert report["rows"] == members + report["duplicates"] + len(report["rejected"])


@FUZZED
@given(st.binary(max_size=400))
def test_any_bytes(tracer: Terminal, world: World, file: str, content: bytes) -> None:
    seed(tracer, world, file, content)


@FUZZED
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=8), st.booleans())
def test_any_table(
    tracer: Terminal, world: World, file: str, rows: list[list[str]], headed: bool
) -> None:
    written = io.StringIO()
    lines = [["key", "name", "domain"], *rows] if headed else rows
    csv.writer(written).writerows(lines)
    seed(tracer, world, file, written.getvalue().encode("utf-8", "surrogatepass"))


@FUZZED
@given(st.lists(st.dictionaries(st.sampled_from(["key", "name", "domain", "x"]), VALUES)))
def test_any_json_lines(tracer: Terminal, world: World, file: str, rows: list[object]) -> None:
    content = "\n".join(json.dumps(row) for row in rows)
    seed(tracer, world, file.replace(".csv", ".jsonl"), content.encode())
