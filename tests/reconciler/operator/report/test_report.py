"""`tracer report`: what it adds up, what becomes of its file, and how that looks in a browser."""

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import views
from reconciler.operator.failures import kind
from reconciler.operator.report.figures import (
    KIND,
    KINDS,
    MOST_MESSAGES,
    NAMELESS,
    SHARES,
    read_report,
    width,
)
from reconciler.operator.report.html import render_report
from reconciler.operator.report.plots import answer_counts, ticks
from tests import browser as chromium
from tests.paying import PRICE, paying, through, with_paid_steps
from tests.reconciler.operator.report.reporting import SCRIPT, make_past
from tests.standins.provider import DROP
from tests.terminal import SEED, Terminal
from tests.world import World

MESSAGES = [
    "HTTPStatusError: 429 for company 17, retry after 2.5 s",
    "no such 'company' or \"domain\" in `table`",
    "it doesn't answer, and won't",
    "call 0f8fad5b-d9cb-469f-a165-70867728950e at 0xdeadbeef01 is gone",
    "due 2026-01-31T12:30:00.5+01:00, seen 2026-02-01 at 12:30",
    "feedback from decade 12ab34cd",
    "  spaced  ",
    "no record for No Such Company, code 17",
    SCRIPT,
]

# What each plot draws at least: spans by step, quantiles by step, spans by message, bars by step.
MARKS = {"throughput": 100, "start_s": 12, "work_s": 12, "failures": 50, "attempts": 5}
MARKS |= {"charged": 100, "answers": 6}


WITH_SPEND = ("first", "again")


def test_the_sums_are_those_of_the_rows(world: World) -> None:
    make_past(world.operator, "past", 400)
    batch = world.operator.batch("past")
    found = read_report(world.operator, batch)
    done = Counter[str]()
    for row in found.throughput:
        done[row["step"]] += row["rows"]
    assert done == {"normalize": 400, "step_a": 380, "step_b": 380}
    counted = {(row["step"], row["status"], row["attempts"]): row["rows"] for row in found.attempts}
    assert counted == {
        ("normalize", "COMPLETED", 1): 360,
        ("normalize", "COMPLETED", 2): 40,
        ("step_a", "COMPLETED", 1): 380,
        ("step_a", "FAILED", 3): 20,
        ("step_b", "COMPLETED", 1): 380,
    }
    failed = Counter[tuple[str, str]]()
    for row in found.failures:
        failed[row["step"], row["message"]] += row["rows"]
    assert failed == {
        ("normalize", "TimeoutError: no answer after # s"): 40,
        ("step_a", "HTTPStatusError: # for company #"): 40,
        ("step_a", kind(SCRIPT)): 20,
    }


def test_latencies_are_quantiles_of_each_step(world: World) -> None:
    make_past(world.operator, "past", 400)
    for row in read_report(world.operator, world.operator.batch("past")).latency:
        rows = world.rows("step_name = %(step)s AND status = 'COMPLETED'", step=row["step"])
        took = sorted((r["finished_at"] - r["started_at"]).total_seconds() for r in rows)
        ranks = [max(0, -int(-share * len(took) // 1) - 1) for share in SHARES.values()]
        assert row["work_s"] == pytest.approx([took[rank] for rank in ranks])
        assert row["rows"] == len(took)


@pytest.mark.filled(fill=with_paid_steps)
def test_what_was_spent_is_what_is_booked(world: World, tracer: Terminal) -> None:
    with paying() as provider:
        provider.unknown = {"company-1.example.com"}
        provider.do("company-2.example.com", DROP)
        world.seed(4, ["staff"], name="first")
        through(world)
        world.seed(6, ["staff"], name="again")
        through(world)
    found = {name: read_report(world.operator, world.operator.batch(name)) for name in WITH_SPEND}
    about = {"step": "staff", "provider": "acme"}
    first = {"bought": 4, "hits": 2, "unknown": 1, "reused": 0, "charged": 3 * PRICE}
    again = {"bought": 2, "hits": 2, "unknown": 0, "reused": 3, "charged": 2 * PRICE}
    assert found["first"].bought == [about | first]
    assert found["again"].bought == [about | again]
    for name, wanted in (("first", [2, 1, 1, 0]), ("again", [2, 0, 0, 3])):
        assert answer_counts(found[name].bought[0]) == wanted
        over_time = sum(row["charged"] for row in found[name].charged)
        assert over_time == found[name].bought[0]["charged"]
        assert tracer.json("report", name)["bought"][0]["charged"] == over_time
    batch = world.operator.batch("again")
    text = render_report(batch, views.progress(world.operator, batch)["steps"], found["again"])
    assert "<h2>Spend</h2><p>Charged: 4</p>" in text
    assert "<td>staff</td><td>acme</td><td>2</td><td>0</td><td>0</td><td>3</td><td>4</td>" in text


def test_an_earlier_batch_of_the_name_is_not_counted(world: World) -> None:
    world.seed(1)
    world.sql(
        "INSERT INTO spend (day, batch, step_name, provider, bought)"
        " VALUES (current_date - 2, 'batch', 'normalize', 'acme', 7)"
    )
    assert read_report(world.operator, world.operator.batch("batch")).bought == []


def test_what_has_no_result_is_done_and_no_failure(world: World) -> None:
    world.claimed(4)
    ends = (Status.NOT_FOUND, Status.NOT_FOUND, Status.SKIPPED, Status.FAILED)
    attempts = world.worker.begin("normalize", world.ids())
    world.worker.fail(attempts, [Failure("so it is", status) for status in ends])
    world.tick()
    batch = world.operator.batch("batch")
    found = read_report(world.operator, batch)
    assert [row["rows"] for row in found.throughput] == [3]
    assert [row["rows"] for row in found.latency] == [2]
    assert [row["rows"] for row in found.failures] == [1]
    assert {row["status"]: row["rows"] for row in found.attempts} == {
        "NOT_FOUND": 2,
        "SKIPPED": 1,
        "FAILED": 1,
    }
    text = render_report(batch, views.progress(world.operator, batch)["steps"], found)
    figures = dict(re.findall(r"<dt>([a-z -]+)</dt><dd>([\d,]+)</dd>", text))
    wanted = {"done": "3", "not found": "2", "skipped": "1", "failed": "1"}
    assert figures | wanted | {"companies": "4", "company-steps done": "3"} == figures


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_of_a_kind_as_they_are_in_inspect(world: World, message: str) -> None:
    given = {"error": message, "called": "No Such Company", "key": "no"}
    nameless = f"""
        SELECT {NAMELESS} AS error
        FROM (SELECT %(error)s::text AS error) e,
            (SELECT %(called)s AS name, NULL AS domain, %(key)s AS key) c"""
    found = world.sql(f"SELECT {KIND} AS kind FROM ({nameless}) e", **KINDS, **given)
    assert found == [{"kind": kind(message, [given["called"], None, given["key"]])}]


def test_messages_beyond_the_most_frequent_are_one(world: World) -> None:
    world.claimed(20)
    names = [chr(ord("a") + i) for i in range(20)]
    for company_id, name in zip(world.ids(), names, strict=True):
        world.sql(
            "UPDATE workflow_states SET status = 'FAILED', finished_at = now(), error = %(error)s,"
            " error_kind = 'raised', lease_expires_at = NULL WHERE company_id = %(id)s",
            **{"id": company_id, "error": name},
        )
    rows = read_report(world.operator, world.operator.batch("batch")).failures
    assert len({row["message"] for row in rows}) == MOST_MESSAGES + 1
    assert sum(row["rows"] for row in rows if row["message"] is None) == 20 - MOST_MESSAGES


@pytest.mark.parametrize(
    ("took_s", "marks"),
    [
        ([0.05, 0.2], [0.03, 0.1, 0.3]),
        ([0.2, 8], [0.1, 0.3, 1, 3, 10]),
        ([1, 1], [1, 3]),
        ([0.002, 900], [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600]),
        ([], [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]),
    ],
)
def test_an_axis_of_durations_has_round_marks(took_s: list[float], marks: list[float]) -> None:
    assert ticks(took_s) == marks


def test_a_report_is_one_file_that_names_no_other(tracer: Terminal, tmp_path: Path) -> None:
    path = write_report(tracer, tmp_path)
    text = path.read_text()
    assert re.findall(r"<(?:link|img|iframe)|\bsrc=[\"']?(?!x )", text.replace(SCRIPT, "")) == []
    assert len(text) < 2e6
    assert "No company-step is done yet." in text
    assert "No attempt has failed." in text
    assert "Spend" not in text


def write_report(tracer: Terminal, folder: Path, *options: str) -> Path:
    path = folder / "report.html"
    if not path.exists():
        (folder / "two.csv").write_text("key\na\nb\n")
        tracer("seed", str(folder / "two.csv"), "--blueprint", "normalize", "--name", "two")
    tracer("report", "two", "-o", str(path), *options)
    return path


def test_a_report_replaces_a_report_and_nothing_else(tracer: Terminal, tmp_path: Path) -> None:
    path = write_report(tracer, tmp_path)
    assert "written" in tracer.err
    write_report(tracer, tmp_path)
    assert "replaced" in tracer.err
    path.write_text("precious")
    tracer("report", "two", "-o", str(path), code=2)
    assert "is not a report" in tracer.err
    assert path.read_text() == "precious"
    write_report(tracer, tmp_path, "--force")
    assert path.read_text().startswith("<!doctype html>")
    tracer("report", "two", "-o", str(tmp_path / "missing" / "report.html"), code=2)
    assert "No such file or directory" in tracer.err
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_report_leaves_a_link_and_what_is_no_file_as_they_are(
    tracer: Terminal, tmp_path: Path
) -> None:
    path = write_report(tracer, tmp_path)
    link = tmp_path / "link.html"
    link.symlink_to(path)
    before = path.stat().st_ino
    tracer("report", "two", "-o", str(link))
    assert link.is_symlink()
    assert path.stat().st_ino != before
    for no_file in (tmp_path, "/dev/null"):
        tracer("report", "two", "-o", str(no_file), "--force", code=2)
        assert "exists and is not a file" in " ".join(tracer.err.split())


def test_a_report_goes_to_stdout_and_its_figures_to_json(tracer: Terminal, file: str) -> None:
    tracer("seed", file, *SEED)
    assert tracer("report", "companies", "-o", "-").startswith("<!doctype html>")
    found = tracer.json("report", "companies")
    assert [step["PENDING"] for step in found["steps"]] == [2, 0]
    assert found["throughput"] == found["latency"] == []
    tracer("report", "nobody", "-o", "-", code=2)


def test_spans_are_as_wide_as_the_log_is_kept(world: World) -> None:
    now = world.store.now()
    assert width(now - timedelta(seconds=40), now, now) == 1
    assert width(now - timedelta(hours=2), now - timedelta(hours=2, seconds=-30), now) == 60
    assert width(now - timedelta(days=30), now, now) == 43_200


@pytest.fixture
def page(world: World, tracer: Terminal, tmp_path: Path) -> str:
    make_past(world.operator, "past", 400)
    path = tmp_path / "past.html"
    tracer("report", "past", "-o", str(path))
    return path.as_uri()


@pytest.mark.proof
def test_a_browser_draws_it_in_light_and_dark_on_a_desktop_and_on_a_phone(page: str) -> None:
    """And no text of the database runs, in the page or under the pointer."""
    looks = ((chromium.DESKTOP, False), (chromium.PHONE, True))
    with chromium.running() as browser:
        for size, dark in looks:
            with chromium.opened(browser, size, dark) as (shown, wrong):
                shown.goto(page)
                for name, least in MARKS.items():
                    shown.wait_for_selector(f"#{name} svg")
                    assert shown.locator(f"#{name} svg path[aria-label]").count() >= least
                assert shown.evaluate("document.documentElement.scrollWidth") <= size[0]
                shown.locator("#failures svg path[aria-label*='<script>']").first.hover()
                tip = shown.locator("#vg-tooltip-element.visible")
                tip.wait_for()
                assert "<script>document.title=name</script>" in tip.inner_text()
                shown.get_by_text("All figures").first.click()
                assert shown.get_by_text("from (UTC)").first.is_visible()
                assert shown.title() == "past"
                assert wrong == []
