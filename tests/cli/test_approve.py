"""A sample goes first; nothing of the rest is called before a person has approved it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.operator import steering
from reconciler.operator.approval import approve, predict
from tests.paying import paying, through, with_paid_steps
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World, finish

SHORT = "normalize|step_a,step_b"
# The file's order is not that of the keys.
ROWS = "name,domain\n" + "".join(f"{key},{key}.com\n" for key in "zyxwvutsrq")


@pytest.fixture
def sampled(tracer: Terminal, world: World, tmp_path: Path) -> World:
    file = tmp_path / "many.csv"
    file.write_text(ROWS)
    found = tracer.json("seed", str(file), "--blueprint", SHORT, "--sample", "3")
    assert found["companies_unapproved"] == 7
    return world


def begun(world: World) -> list[str]:
    found = world.sql(
        "SELECT c.key FROM workflow_states w JOIN companies c ON c.id = w.company_id"
        " WHERE position = 0 ORDER BY c.key DESC"
    )
    return [row["key"][0] for row in found]


def test_the_first_of_the_file_go_and_the_rest_waits(tracer: Terminal, sampled: World) -> None:
    finish(sampled)
    assert begun(sampled) == ["z", "y", "x"]
    found = tracer.json("inspect", "many")
    assert (found["status"], found["companies"], found["unapproved"]) == ("FINISHED", 10, 7)
    says = "A sample of 3; 7 companies wait: `tracer approve many`"
    assert says in " ".join(tracer("inspect", "many").split())
    tracer("wait", "many")
    assert says in " ".join(tracer.err.split())
    [batch] = tracer.json("batches")
    assert (batch["companies"], batch["unapproved"]) == (10, 7)


def test_who_asks_about_the_rest_is_told_what_it_waits_for(
    tracer: Terminal, sampled: World
) -> None:
    sampled.tick()
    for words in (("explain", "many", "q.com"), ("inspect", "--company", "q.com", "many")):
        tracer(*words, code=2)
        assert "'q.com' is not in the sample of batch 'many'" in " ".join(tracer.err.split())
        assert "tracer approve many" in " ".join(tracer.err.split())
    tracer("explain", "many", "z.com")


@pytest.mark.parametrize("ended", [True, False])
def test_an_approval_lets_the_rest_go_once(tracer: Terminal, sampled: World, ended: bool) -> None:
    sampled.tick()
    if ended:
        finish(sampled)
    tracer("approve", "many", code=2)
    assert "add --yes" in tracer.err
    assert tracer.json("approve", "many", "--yes")["rows"] == 7
    assert tracer.json("approve", "many", "--yes")["rows"] == 0
    finish(sampled)
    assert begun(sampled) == [*"zyxwvutsrq"]
    found = tracer.json("inspect", "many")
    assert (found["status"], found["companies"], found["unapproved"]) == ("FINISHED", 10, 0)
    assert [step["COMPLETED"] for step in found["steps"]] == [10, 0, 10]
    verbs = [line["verb"] for line in tracer.json("history", "many")["history"]]
    assert verbs == ["seed", "approve"]


def test_a_sample_that_holds_all_needs_no_approval(tracer: Terminal, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("name,domain\na,a.com\n")
    words = ("seed", str(tmp_path / "few.csv"), "--blueprint", "normalize", "--sample", "3")
    assert tracer.json(*words)["companies_unapproved"] == 0
    tracer("approve", "few", "--yes")
    assert "no company waits for an approval" in tracer.err


def test_what_is_cancelled_is_not_approved(tracer: Terminal, sampled: World) -> None:
    steering.cancel(sampled.operator, sampled.operator.batch("many"))
    tracer("approve", "many", "--yes", code=2)
    assert "a cancelled batch cannot go on" in " ".join(tracer.err.split())
    with pytest.raises(BadInput, match="cannot go on"):
        approve(sampled.operator, sampled.operator.batch("many"))
    assert len(begun(sampled)) == 3


def test_two_approvals_at_once_are_one(tracer: Terminal, sampled: World) -> None:
    batch = sampled.operator.batch("many")
    assert [approve(sampled.operator, batch), approve(sampled.operator, batch)] == [7, 0]
    assert tracer.json("inspect", "many")["steps"][0]["PENDING"] == 10


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        found.unknown = {"z.com"}
        yield found


@pytest.mark.filled(fill=with_paid_steps)
def test_what_the_rest_comes_to_is_predicted_from_what_the_sample_has_come_to(
    tracer: Terminal, world: World, provider: Provider, tmp_path: Path
) -> None:
    file = tmp_path / "many.csv"
    file.write_text(ROWS)
    tracer("seed", str(file), "--blueprint", "staff,normalize", "--sample", "2")
    batch = world.operator.batch("many")
    assert [one.asked for one in predict(world.operator, batch)] == [None, None]
    assert "not known yet" in tracer("approve", "many", "--plan")
    assert "8 companies; the sample does not say yet" in " ".join(tracer.err.split())
    through(world)
    assert provider.calls.total() == 2, "no call beyond the sample"
    found = tracer.json("approve", "many", "--plan")
    assert (found["cost"], found["unapproved"], found["rows"]) == (8, 8, 0)
    assert found["steps"][0] == {"step": "staff", "asked": 8, "hit_rate": 0.5, "cost": 8}
    tracer("approve", "many", "--plan")
    says = "8 companies; if they are like the sample, they cost about 8 up to staff"
    assert says in " ".join(tracer.err.split())
    assert provider.calls.total() == 2
    tracer("approve", "many", "--yes")
    through(world)
    assert provider.calls.total() == 10
