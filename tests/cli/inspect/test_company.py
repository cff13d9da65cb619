"""`tracer inspect --company` and `tracer batches`, for people and for programs."""

import re

import pytest

from reconciler.contract.results import Company
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import steering
from tests.terminal import Terminal
from tests.world import World, doing
from workers.steps.normalize import Normalized

FOUND = {
    "first": Normalized(domain="a"),
    "second": Normalized(domain="b"),
    "third": Normalized(),
}


def test_the_way_of_a_company_over_all_batches(tracer: Terminal, world: World) -> None:
    world.seed(["acme"], ["normalize", "step_a"], name="first")
    world.tick()
    fail_once(world)
    world.tick()
    world.sql("UPDATE workflow_states SET available_at = now() WHERE status = 'PENDING'")
    world.tick()
    world.work()
    world.tick()
    world.seed(["acme"], ["step_b"], name="second")
    found = tracer.json("inspect", "--company", "acme")
    assert [(row["batch"], row["step"], row["status"]) for row in found["timeline"]] == [
        ("first", "normalize", "COMPLETED"),
        ("first", "step_a", "QUEUED"),
        ("second", "step_b", "PENDING"),
    ]
    assert [attempt["attempt"] for attempt in found["timeline"][0]["attempts"]] == [1]
    (result,) = found["results"]
    assert (result["step"], result["table"]) == ("normalize", "results.normalized")
    assert result["row"]["domain"] == "example.com"
    one = tracer.json("inspect", "second", "--company", "acme")
    assert [row["batch"] for row in one["timeline"]] == ["second"]
    shown = tracer("inspect", "--company", "acme")
    for words in (
        *("acme Inc.", "normalize  COMPLETED  attempt 2", "ValueError: busy", "not begun"),
        *("waits since", "results.normalized, written", "  legal_form  Inc."),
    ):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert len(re.findall(r"\d{4}-\d\d-\d\d", shown)) <= 4  # the date once, and with the result


def test_a_result_says_which_batch_it_is_from_and_that_there_are_others(
    tracer: Terminal, world: World
) -> None:
    for batch, result in FOUND.items():
        world.seed(["acme"], name=batch)
        world.tick()
        attempts = world.worker.begin("normalize", world.ids())
        world.worker.complete(attempts, [result], f"v-{batch}")
        world.tick()
    (found,) = tracer.json("inspect", "--company", "acme")["results"]
    assert (found["batch"], found["row"]["domain"]) == ("second", "b")
    assert [(one["batch"], one["version"]) for one in found["history"]] == [
        ("third", "v-third"),
        ("first", "v-first"),
    ]
    assert found["history"][1]["result"]["domain"] == "a"
    shown = tracer("inspect", "--company", "acme")
    assert re.search(r"results\.normalized, written [\d: -]+ for second$", shown, re.M)
    assert "  1 later result found nothing\n  1 older result is kept: see --json\n" in shown
    assert "written_for" not in shown
    tracer("delete", "second", "--yes")
    (found,) = tracer.json("inspect", "--company", "acme")["results"]
    assert (found["batch"], found["row"]["domain"]) == (None, "b")


def test_what_has_no_result_says_why(tracer: Terminal, world: World) -> None:
    world.seed(["acme", "other"])
    world.tick()
    ends = [Failure("crawl has no result", Status.SKIPPED), Failure(None, Status.NOT_FOUND)]
    world.worker.fail(world.worker.begin("normalize", world.ids()), ends)
    shown = tracer("inspect", "--company", "acme")
    assert re.search(r"normalize  SKIPPED\n +1  claimed .*\n +crawl has no result", shown)
    assert "normalize  NOT_FOUND" in tracer("inspect", "--company", "other")
    (found,) = tracer.json("batches")
    names = ("done", "completed", "not_found", "skipped", "failed", "share")
    assert [found[name] for name in names] == [2, 0, 1, 1, 0, "100%"]
    assert re.search(r"done +no result +in flight", tracer("batches"))
    assert re.search(r"RUNNING +2 +100% +2 +0 +0", tracer("batches"))
    world.tick()
    world.seed(["third"], name="b")
    assert tracer("inspect", "batch").startswith("batch  FINISHED  2 companies\n100% done")


def test_an_attempt_that_has_failed_is_over(tracer: Terminal, world: World) -> None:
    world.seed(["acme"])
    world.tick()
    assert re.search(r"lease until .* \(in ", tracer("inspect", "--company", "acme"))
    fail_once(world)
    shown = tracer("inspect", "--company", "acme")
    assert re.search(r"began after 0\.\d s, over: the next tick decides\n", shown)
    assert re.search(r"lease ran out at .* ago\)\n +ValueError: busy", shown)
    assert "runs for" not in shown


def test_attempts_since_a_retry_are_counted_anew(tracer: Terminal, world: World) -> None:
    world.seed(["acme"])
    world.sql("UPDATE enrichment_registry SET max_attempts = 1")
    world.tick()
    fail_once(world)
    world.tick()
    steering.retry(world.operator, world.operator.batch("batch"))
    assert re.search("normalize  PENDING$", tracer("inspect", "--company", "acme"), re.M)
    world.tick()
    shown = tracer("inspect", "--company", "acme")
    assert "normalize  QUEUED  attempt 1, not counting 1 before it" in shown


def fail_once(world: World) -> None:
    def function(_: Company) -> Normalized:
        raise ValueError("busy")

    world.work(doing(function))


def test_a_company_without_a_batch_or_a_result_is_shown(tracer: Terminal, world: World) -> None:
    world.seed(["acme"])
    world.sql("DROP TABLE results.normalized")
    assert "waits since" in tracer("inspect", "--company", "acme")
    world.sql("DELETE FROM batches")
    tracer("inspect", "--company", "acme")
    assert "no batch" in tracer.err


def test_results_of_a_step_whose_code_is_elsewhere_are_not_shown(
    tracer: Terminal, world: World
) -> None:
    world.seed(["acme"], ["elsewhere"])
    assert "elsewhere  PENDING" in tracer("inspect", "--company", "acme")
    assert "its code is not in workers.steps. Set TRACER_STEPS" in " ".join(tracer.err.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("inspect",), "Name a batch"),
        (("inspect", "b", "--watch", "--company", "x"), "--watch and --company do not go together"),
        (("inspect", "--company", "nobody"), "no company with the key 'nobody'"),
    ],
)
def test_what_cannot_be_shown_says_why(tracer: Terminal, words: tuple[str, ...], says: str) -> None:
    tracer(*words, code=2)
    assert says in tracer.err


def test_batches_are_listed_with_their_progress(tracer: Terminal, world: World) -> None:
    world.seed(1500, ["normalize", "step_a"], name="[b]large[/b]")
    world.tick()
    steering.pause(world.operator, world.operator.batch("[b]large[/b]"))
    shown = tracer("batches")
    assert re.search(r"\[b\]large\[/b\] +paused +1,500 +0% +1,000 +0 ", shown)
    (row,) = tracer.json("batches")
    assert (row["companies"], row["in_flight"], row["share"]) == (1500, 1000, "0%")
