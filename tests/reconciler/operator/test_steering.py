"""What an operator does to a batch: in chunks, beside all others, and with a line of history."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.contract.errors import BadInput
from reconciler.contract.results import Company
from reconciler.contract.sql.claim import CLAIM, CLAIM_TURN
from reconciler.contract.store import claim_values
from reconciler.operator import steering
from reconciler.operator.batch import BatchView
from reconciler.operator.history import read_history
from reconciler.operator.store import OperatorStore
from tests.databases import Databases
from tests.reconciler.contract.large_table import PLANNED, begin, large, scans
from tests.system.machine.sides import line, side
from tests.world import World, doing
from workers.kit import PermanentError
from workers.steps.normalize import Normalized


class Ended(Exception):
    """The command ends between two chunks, as its machine may."""


def batch(world: World, name: str = "batch") -> BatchView:
    return world.operator.batch(name)


def fail(world: World) -> None:
    """All that is claimed fails for good."""

    def function(_: Company) -> Normalized:
        raise PermanentError("no such company")

    world.work(doing(function))


def told(world: World, name: str = "batch") -> list[tuple[str, int]]:
    """The batch's history: verbs and rows."""
    return [
        (line["verb"], line["rows"]) for line in read_history(world.operator, batch(world, name))
    ]


@pytest.fixture
def in_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "CHUNK", 2)


def test_a_batch_that_was_deleted_meanwhile_is_named(world: World) -> None:
    world.seed(1)
    found = batch(world)
    world.sql("DELETE FROM batches")
    for verb in (steering.retry, steering.pause, steering.cancel):
        with pytest.raises(BadInput, match="There is no batch 'batch' any more"):
            verb(world.operator, found)


@pytest.mark.usefixtures("in_twos")
def test_a_retry_goes_on_beside_ticks_and_passes_each_row_once(world: World) -> None:
    """What is retried first is claimed and fails again before the rest has come."""
    world.claimed(5)
    fail(world)
    world.tick()
    assert batch(world).status == "FINISHED"
    so_far: list[int] = []

    def beside(moved: int) -> None:
        so_far.append(moved)
        world.tick()
        fail(world)
        world.tick()  # and the batch has finished once more

    assert steering.retry(world.operator, batch(world), on_moved=beside) == 5
    assert so_far == [2, 4, 5]
    assert world.statuses() == {"FAILED": 5}
    assert {row["attempt"] for row in world.rows()} == {2}
    assert batch(world).status == "FINISHED"
    assert told(world) == [("seed", 5), ("retry", 5)]


@pytest.mark.usefixtures("in_twos")
def test_a_retry_that_ends_early_has_told_what_it_did_and_is_finished_by_another(
    world: World,
) -> None:
    world.seed(5, ["normalize", "step_a"])
    world.tick()
    fail(world)

    def end(_: int) -> None:
        raise Ended

    with pytest.raises(Ended):
        steering.retry(world.operator, batch(world), on_moved=end)
    assert world.statuses() == {"PENDING": 2, "FAILED": 3}
    assert steering.retry(world.operator, batch(world)) == 3
    assert told(world) == [("seed", 5), ("retry", 2), ("retry", 3)]
    attempts = world.sql("SELECT company_id, attempt FROM attempts ORDER BY 1")
    assert attempts == [{"company_id": i, "attempt": 1} for i in world.ids()]


@pytest.mark.usefixtures("in_twos")
def test_a_retry_ends_where_the_batch_is_cancelled_between_two_chunks(world: World) -> None:
    world.claimed(5)
    fail(world)

    def cancel(_: int) -> None:
        steering.cancel(world.operator, batch(world))

    with pytest.raises(BadInput, match="is CANCELLED"):
        steering.retry(world.operator, batch(world), on_moved=cancel)
    assert world.statuses() == {"CANCELLED": 2, "FAILED": 3}


@pytest.mark.usefixtures("in_twos")
def test_nothing_is_claimed_of_a_batch_whose_cancel_is_under_way(world: World) -> None:
    world.seed(6, ["normalize", "step_a"])
    world.operator.set_step("normalize", {"max_in_flight": 3})
    world.tick()
    world.work(ids=world.ids()[:1])
    so_far: list[int] = []

    def beside(moved: int) -> None:
        so_far.append(moved)
        assert world.tick().claimed == 0

    found = batch(world)
    assert steering.cancel(world.operator, found, on_moved=beside) == 5
    assert so_far == [2, 4, 5]  # what was in flight, and then what waited
    assert world.statuses() == {"COMPLETED": 1, "CANCELLED": 5}
    assert told(world) == [("seed", 6), ("cancel", 5)]


@pytest.mark.usefixtures("in_twos")
def test_a_cancel_that_ends_early_is_finished_by_another(world: World) -> None:
    world.seed(5)
    far = "'9998-12-31 00:00:00+00'"  # the last day that a row may name, nearly
    world.sql(f"UPDATE workflow_states SET available_at = {far} WHERE mod(company_id, 2) = 0")
    calls = iter([None, Ended])

    def end(_: int) -> None:
        if error := next(calls):
            raise error

    with pytest.raises(Ended):
        steering.cancel(world.operator, batch(world), on_moved=end)
    assert world.statuses() == {"PENDING": 3, "CANCELLED": 2}
    assert not world.tick()
    assert [row["rows"] for row in steering.unfinished(world.operator, batch(world))] == [3]
    assert steering.cancel(world.operator, batch(world)) == 3
    assert world.statuses() == {"CANCELLED": 5}
    assert told(world) == [("seed", 5), ("cancel", 2), ("cancel", 3)]


def test_a_cancel_waits_for_a_claim_under_way_and_ends_what_it_took(world: World) -> None:
    """The claim has read the batch as running; its rows are PENDING to all others."""
    world.seed(3)
    world.operator.set_step("normalize", {"max_in_flight": 2})
    values = claim_values(world.store.now()) | {"limit": 10}
    with ThreadPoolExecutor(1) as threads:
        with world.store.transaction() as claiming:
            claiming.execute(CLAIM_TURN)
            claiming.execute(CLAIM, values)
            cancelled = threads.submit(steering.cancel, world.operator, batch(world))
            world.wait_for_blocked()
        assert cancelled.result(10) == 3
    assert world.statuses() == {"CANCELLED": 3}


def test_a_cancel_leaves_no_row_out_on_which_a_call_is_written_meanwhile(world: World) -> None:
    """As the answer to a spawn may come after the lease that it was for."""
    world.seed(3)
    with ThreadPoolExecutor(1) as threads:
        with world.store.transaction() as recording:
            recording.execute("UPDATE workflow_states SET call_id = 'fc-1'")
            cancelled = threads.submit(steering.cancel, world.operator, batch(world))
            world.wait_for_blocked()
        assert cancelled.result(10) == 3
    assert told(world) == [("seed", 3), ("cancel", 3)]


def test_two_cancels_at_once_end_each_row_once(world: World, url: str) -> None:
    world.seed(4)
    found = batch(world)
    with OperatorStore.connect(url) as other, ThreadPoolExecutor(2) as threads:
        with world.store.transaction() as holding:
            holding.execute("SELECT FROM batches FOR UPDATE")
            both = [threads.submit(steering.cancel, one, found) for one in (other, world.operator)]
            world.wait_for_blocked()
        assert sorted(one.result(10) for one in both) == [0, 4]
    # The one that cancelled the batch may have left all its rows to the other.
    assert [line for line in told(world) if line[1]] == [("seed", 4), ("cancel", 4)]


def test_a_priority_holds_from_the_next_claim(world: World) -> None:
    world.operator.set_step("normalize", {"max_in_flight": 1})
    world.seed(["a", "b"], name="first")
    world.seed(["c", "d"], name="second")
    assert steering.set_priority(world.operator, batch(world, "second"), 1)
    assert [r["name"] for r in steering.rivals(world.operator, batch(world, "first"))] == ["second"]
    claimed = []
    for _ in range(4):
        claimed += [chunk.batch_ids[0] for chunk in world.store.claim(world.store.now())]
        world.work()
    assert claimed == [batch(world, name).id for name in ("second", "second", "first", "first")]


def test_only_those_that_run_and_share_a_step_are_rivals(world: World) -> None:
    for name, blueprint, priority in (
        ("one", ["normalize", "step_a"], 0),
        ("two", ["step_a"], 3),
        ("three", ["step_b", "normalize"], -1),
        ("apart", ["step_b"], 9),
        ("over", ["step_a"], 9),
    ):
        world.seed(1, blueprint, name=name, priority=priority)
    steering.cancel(world.operator, batch(world, "over"))
    found = steering.rivals(world.operator, batch(world, "one"))
    assert [(r["name"], r["priority"]) for r in found] == [("two", 3), ("three", -1)]


@pytest.fixture(params=PLANNED)
def one_line(request: pytest.FixtureRequest, databases: Databases) -> Iterator[OperatorStore]:
    """An operator in a transaction of 40,000 rows in 4 batches, by statistics good and bad."""
    with large(databases, request.param) as url:
        made = side(OperatorStore, url)
        begin(line(made).only, request.param)
        yield made
        made.close()


@pytest.mark.usefixtures("in_twos")
def test_an_operator_reads_no_table(one_line: OperatorStore) -> None:
    running, waiting = one_line.batch("batch-1"), one_line.batch("batch-2")
    assert len(steering.unfinished(one_line, running)) == 2
    assert steering.failed(one_line, running)[0]["rows"] == 20
    assert steering.retry(one_line, running) == 20
    assert steering.cancel(one_line, running) == 60
    assert steering.pause(one_line, waiting)
    assert steering.cancel(one_line, waiting) == 20
    assert scans(line(one_line).only) == 0
