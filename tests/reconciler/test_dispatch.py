"""What a dispatch leaves behind: a step that is refused claims less and later, and recovers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.contract.claimed import LIMIT, NO_LIMIT, Chunk, Room, Throttle
from reconciler.contract.column_types import SCHEMA_REVISION
from reconciler.contract.sql.worker import BEGIN
from reconciler.operator import steering
from reconciler.policy import HOLD_MAX_S, throttle
from reconciler.spawners.protocol import Outcome, Refused, Spawned, Unanswered, Unknown
from reconciler.tick import tick
from tests.world import Scripted, World, chunk_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Full(Scripted):
    """A spawner that takes only so many calls of a tick."""

    takes: int = 0
    offered: list[int] = field(default_factory=list)

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        self.offered.append(sum(len(chunk.company_ids) for chunk in chunks))
        taken: list[Outcome | Unanswered] = [Spawned("fc-1") for _ in chunks[: self.takes]]
        return taken + [Refused("full") for _ in chunks[self.takes :]]


def test_nothing_slows_a_step_that_is_taken_whole() -> None:
    assert throttle(chunk_of(), 100, [], NOW, 0.5) is None


def test_a_step_of_which_part_is_taken_claims_as_much_next_time() -> None:
    found = throttle(chunk_of(backoff_s=4, backoff_max_s=60), 300, ["full"], NOW, 0)
    assert found == Throttle("normalize", NOW, 300, 0, "full")


def test_a_step_of_which_nothing_is_taken_asks_with_one_call_and_ever_more_rarely() -> None:
    waits = []
    for refusals in range(8):
        chunk = chunk_of(backoff_s=4, backoff_max_s=600, refusals=refusals)
        found = throttle(chunk, 0, ["down"], NOW, 0)
        assert found
        assert (found.allowance, found.refusals) == (100, refusals + 1)
        waits.append((found.held_until - NOW).total_seconds())
    assert waits == [2, 4, 8, 16, *[HOLD_MAX_S / 2] * 4]


@pytest.mark.parametrize(
    ("allowance", "taken", "then"),
    [(100, 100, 200), (LIMIT // 2, LIMIT // 2, None)],
    ids=["doubled", "as much as ever"],
)
def test_what_a_slowed_step_may_claim_grows_again(
    allowance: int, taken: int, then: int | None
) -> None:
    found = throttle(chunk_of(allowance=allowance, refusals=3), taken, [], NOW, 0.5)
    assert found == Throttle("normalize", NOW, then, 0, "")


def test_a_refused_step_is_not_claimed_again_before_its_time(world: World) -> None:
    world.seed(30)
    world.operator.set_step("normalize", {"chunk_size": 2, "backoff_s": 10, "backoff_max_s": 10})
    now, full = world.store.now(), Full(takes=0)
    assert tick(world.store, full, now).released == 30
    held = world.sql("SELECT * FROM throttles")[0]
    assert (held["allowance"], held["refusals"], held["reason"]) == (2, 1, "full")
    assert min(row["available_at"] for row in world.rows()) > now
    world.seed(["new"], name="of another batch")
    assert not tick(world.store, full, now + timedelta(seconds=4))
    assert tick(world.store, full, now + timedelta(seconds=11)).claimed == 2
    assert full.offered == [30, 2]


def test_a_step_that_is_taken_again_comes_back_to_full_speed(world: World) -> None:
    world.seed(31)
    world.operator.set_step("normalize", {"chunk_size": 2, "backoff_s": 1, "backoff_max_s": 1})
    now, full = world.store.now(), Full(takes=0)
    tick(world.store, full, now)
    full.takes = 100
    for after in range(2, 7):
        tick(world.store, full, now + timedelta(seconds=after))
    assert full.offered == [31, 2, 4, 8, 16, 1]
    assert world.sql("SELECT allowance, refusals FROM throttles") == [
        {"allowance": 64, "refusals": 0}
    ]


def test_a_spawner_that_takes_little_is_offered_little(world: World) -> None:
    """No pile of claimed rows that go back and forth: what is refused stays below what is taken."""
    world.seed(400)
    world.operator.set_step("normalize", {"chunk_size": 2, "backoff_s": 1, "backoff_max_s": 1})
    now, full = world.store.now(), Full(takes=5)
    reports = [tick(world.store, full, now + timedelta(seconds=2 * i)) for i in range(1, 41)]
    assert world.statuses() == {"QUEUED": 400}
    assert sum(report.released for report in reports[1:]) <= 400
    assert {row["attempt"] for row in world.rows()} == {1}


def test_one_steps_refusals_leave_the_others_alone(world: World) -> None:
    world.seed(3, ["normalize"], name="refused")
    world.spawner.answer = Refused("full")
    world.tick()
    world.seed(3, ["step_a"], name="well")
    world.spawner.answer = Spawned("fc-1")
    assert world.tick().spawned == 3


def test_a_call_that_also_carries_another_batch_goes_on_until_that_is_done(world: World) -> None:
    world.seed(["a", "b"], name="cancelled")
    world.seed(["c"], name="living")
    world.spawner.answer = Spawned("fc-shared")
    world.tick()
    assert {row["call_id"] for row in world.rows()} == {"fc-shared"}
    steering.cancel(world.operator, world.operator.batch("cancelled"))
    world.tick()
    assert world.spawner.cancelled == []
    assert world.work().completed == 1
    assert world.statuses() == {"CANCELLED": 2, "COMPLETED": 1}
    world.tick()
    assert world.spawner.cancelled == ["fc-shared"]


def test_a_dispatch_does_not_wait_for_a_worker_that_is_taking_its_rows(world: World) -> None:
    """The two could otherwise take the rows in opposite orders, and wait for each other."""
    world.seed(3)
    (chunk,) = world.store.claim(world.store.now())
    with world.worker.transaction() as beginning:
        values = {
            "step": "normalize",
            "company_ids": world.ids()[1:],
            "call_id": "fc-worker",
            "holder": None,
            "alone": False,
            "group_sizes": [1],
        }
        beginning.execute(BEGIN, {**values, "revision": SCHEMA_REVISION})
        world.store.record_calls([chunk], ["fc-tick"])
        assert world.store.release([chunk], [world.store.now()], ["refused"]) == 1
    assert [(r["status"], r["call_id"]) for r in world.rows()] == [
        ("PENDING", "fc-tick"),
        ("IN_PROGRESS", "fc-worker"),
        ("IN_PROGRESS", "fc-worker"),
    ]


def test_a_call_that_a_worker_has_written_stays_written(world: World) -> None:
    world.seed(1)
    (chunk,) = world.store.claim(world.store.now())
    world.worker.begin("normalize", world.ids(), "fc-worker")
    world.store.record_calls([chunk], ["fc-tick"])
    assert world.rows()[0]["call_id"] == "fc-worker"


def test_an_unknown_outcome_is_no_news_of_a_row_that_has_begun(world: World) -> None:
    world.seed(2)
    (chunk,) = world.store.claim(world.store.now())
    world.worker.begin("normalize", world.ids()[:1])
    assert world.store.note_unknown([chunk], ["no answer"]) == 1
    assert [row["error"] for row in world.rows()] == [None, "no answer"]


def test_a_claim_begins_with_neither_call_nor_error(world: World) -> None:
    world.seed(1)
    world.spawner.answer = Unknown("no answer")
    now = world.store.now()
    world.tick(now)
    world.sql("UPDATE workflow_states SET call_id = 'fc-old'")
    world.tick(now + timedelta(seconds=301))
    world.spawner.answer = Spawned()
    world.tick(now + timedelta(seconds=600))
    (row,) = world.rows()
    assert (row["status"], row["call_id"], row["error"]) == ("QUEUED", None, None)


def test_a_worker_that_begins_after_an_unknown_outcome_has_a_heart(world: World) -> None:
    world.seed(1)
    world.spawner.answer = Unknown("no answer")
    world.tick()
    attempts = world.worker.begin("normalize", world.ids())
    assert world.worker.heartbeat(attempts) == {("normalize", i) for i in world.ids()}


def test_an_outage_of_the_spawner_fails_no_row(world: World) -> None:
    """An attempt of which nobody knows whether it was started, and that none began, is forgiven."""
    world.seed(1)
    world.operator.set_step("normalize", {"max_attempts": 2})
    world.spawner.answer = Unknown("no answer")
    now = world.store.now()
    for _ in range(5):
        assert world.tick(now).unknown == 1
        now += timedelta(seconds=301)
        assert world.tick(now).retried == 1
        now += timedelta(seconds=301)
    world.spawner.answer = Spawned()
    world.tick(now)
    assert world.work().completed == 1
    assert world.rows()[0]["attempt"] == 6


def test_two_ticks_that_slow_steps_down_do_not_wait_for_each_other(world: World) -> None:
    def paces(*steps: str) -> list[Throttle]:
        return [Throttle(step, NOW, None if step == "b" else 5, 1, "full") for step in steps]

    world.store.throttle(paces("a", "b", "c"))
    with ThreadPoolExecutor(2) as threads:
        orders = [paces("a", "b", "c"), paces("c", "b", "a")] * 50
        for done in [threads.submit(world.store.throttle, order) for order in orders]:
            done.result(10)


def test_a_batch_whose_companies_are_all_in_flight_elsewhere_takes_no_share(world: World) -> None:
    world.operator.set_step("normalize", {"max_in_flight": 20})
    shared = [f"shared-{i}" for i in range(10)]
    world.seed(shared, name="first")
    world.tick()
    world.seed(shared, name="urgent", priority=5)
    world.seed([f"own-{i}" for i in range(10)], name="modest")
    assert world.tick().claimed == 10
    assert {row["status"] for row in world.rows("batch_id = 3")} == {"QUEUED"}


HERE = Room(holder="here-2", family="here-", alive=("here-2",))


def held_by(world: World, companies: int, room: Room, begun: Sequence[int] = ()) -> list[int]:
    """Companies whose rows a worker host has, of which it has begun those at `begun`."""
    world.seed([f"{room.holder}-{i}" for i in range(companies)], name=str(room.holder))
    (chunk,) = world.store.claim(world.store.now(), room)
    world.worker.begin("normalize", [chunk.company_ids[i] for i in begun])
    return chunk.company_ids


def test_what_a_host_held_that_is_gone_is_given_back(world: World) -> None:
    first, second, third = held_by(world, 3, Room(holder="here-1", family="here-"), begun=[0, 2])
    now = world.store.now()
    assert world.store.due(now, HERE).orphaned
    assert world.store.give_back(HERE, now) == 3
    assert not world.store.due(now, HERE).orphaned
    rows = {row["company_id"]: row for row in world.rows()}
    assert (rows[second]["status"], rows[second]["attempt"]) == ("PENDING", 0)
    assert rows[second]["lease_expires_at"] is None
    for begun in (first, third):
        assert (rows[begun]["status"], rows[begun]["attempt"]) == ("IN_PROGRESS", 1)
        assert rows[begun]["lease_expires_at"] == now
    assert {row["holder"] for row in rows.values()} == {None}
    assert world.store.give_back(HERE, now) == 0
    assert world.tick().retried == 2


def test_what_others_hold_is_left_to_them(world: World) -> None:
    for holder in ("here-2", "there-1"):
        held_by(world, 2, Room(holder=holder), begun=[0])
    held_by(world, 2, NO_LIMIT, begun=[0])
    ended = held_by(world, 1, Room(holder="here-1"), begun=[0])
    world.sql(
        "UPDATE workflow_states SET status = 'FAILED', finished_at = now(),"
        " lease_expires_at = NULL WHERE company_id = %(i)s",
        i=ended[0],
    )
    before = world.rows()
    for room in (HERE, NO_LIMIT):
        assert not world.store.due(world.store.now(), room).orphaned
    assert world.store.give_back(HERE, world.store.now()) == 0
    assert world.store.give_back(NO_LIMIT, world.store.now()) == 0
    assert world.rows() == before


def test_a_row_that_a_worker_is_just_writing_is_not_waited_for(world: World) -> None:
    first, second = held_by(world, 2, Room(holder="here-1"), begun=[0, 1])
    with ThreadPoolExecutor(1) as threads, world.worker.transaction() as writing:
        held = "SELECT FROM workflow_states WHERE company_id = %(id)s FOR UPDATE"
        writing.execute(held, {"id": first})
        given = threads.submit(world.store.give_back, HERE, world.store.now())
        assert given.result(10) == 1
    assert [row["company_id"] for row in world.rows("holder IS NULL")] == [second]
