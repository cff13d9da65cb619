"""The claim: capacities, shares, priorities, and two claimers at once."""

from collections import Counter
from datetime import timedelta
from threading import Thread

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.contract.claimed import Room
from reconciler.contract.database_url import libpq_url
from reconciler.contract.store import Store
from reconciler.dispatch import count_rows
from tests.world import World


def claimed_per_batch(world: World) -> Counter[int]:
    chunks = world.store.claim(world.store.now())
    return Counter(batch for chunk in chunks for batch in chunk.batch_ids)


def cap(world: World, rows_in_flight: int, step: str = "normalize") -> None:
    world.operator.set_step(step, {"max_in_flight": rows_in_flight})


def fill(depths: dict[int, tuple[int, int]], room: int) -> Counter[int]:
    """What batches {id: (priority, depth)} get: one row each in turn, the higher priority first."""
    got: Counter[int] = Counter()
    for tier in sorted({p for p, _ in depths.values()}, reverse=True):
        while room:
            hungry = [b for b, (p, depth) in depths.items() if p == tier and got[b] < depth]
            if not hungry:
                break
            for batch in hungry[:room]:
                got[batch] += 1
            room -= len(hungry[:room])
    return got


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30)), min_size=1, max_size=8),
    room=st.integers(1, 60),
)
def test_the_capacity_is_shared_out_like_water(
    world: World, batches: list[tuple[int, int]], room: int
) -> None:
    world.sql("TRUNCATE batches, companies CASCADE")
    cap(world, room)
    for number, (priority, depth) in enumerate(batches):
        keys = [f"{number}-{i}" for i in range(depth)]
        world.seed(keys, name=f"b{number}", priority=priority)
    ids = [row["id"] for row in world.sql("SELECT id FROM batches ORDER BY id")]
    depths = dict(zip(ids, batches, strict=True))

    got, expected = claimed_per_batch(world), fill(depths, room)

    assert got.total() == expected.total()
    for tier in {priority for priority, _ in batches}:
        of_tier = [batch for batch in ids if depths[batch][0] == tier]
        # Which batches get the last rows of an uneven split is open; the sizes are not.
        assert sorted(got[b] for b in of_tier) == sorted(expected[b] for b in of_tier)


def test_a_full_step_claims_nothing_and_the_others_go_on(world: World) -> None:
    world.seed(5, ["normalize"], name="a")
    world.seed(5, ["step_a"], name="b")
    cap(world, 3)
    assert count_rows(world.store.claim(world.store.now())) == 3 + 5
    assert count_rows(world.store.claim(world.store.now())) == 0
    assert world.statuses() == {"QUEUED": 8, "PENDING": 2}


def test_a_claim_takes_no_more_than_the_workers_have_room_for(world: World) -> None:
    world.seed(5, ["normalize"], name="a")
    world.seed(5, ["step_a"], name="b")
    now = world.store.now()
    room = Room({"normalize": 2, "step_b": 0}, holder="here-1")
    assert count_rows(world.store.claim(now, room)) == 2 + 5
    assert count_rows(world.store.claim(now, Room({"normalize": 0}))) == 0
    assert {row["holder"] for row in world.rows("status = 'QUEUED'")} == {"here-1"}
    assert count_rows(world.store.claim(now)) == 3
    assert len(world.rows("holder IS NULL")) == 3


@pytest.mark.parametrize(
    "hindrance",
    [
        "UPDATE batches SET paused = true",
        "UPDATE batches SET status = 'CANCELLED', finished_at = now()",
        "UPDATE enrichment_registry SET enabled = false",
        "UPDATE enrichment_registry SET max_in_flight = 0",
        "INSERT INTO holds VALUES ('normalize', 'failures', 'a bug')",
        "UPDATE workflow_states SET available_at = now() + interval '1 minute'",
    ],
)
def test_what_hinders_a_claim(world: World, hindrance: str) -> None:
    world.seed(2)
    world.sql(hindrance)
    assert world.store.claim(world.store.now()) == []
    assert world.statuses() == {"PENDING": 2}


def test_a_backoff_that_is_over_is_claimed(world: World) -> None:
    world.seed(1)
    world.sql("UPDATE workflow_states SET available_at = now() + interval '1 minute'")
    later = world.store.now() + timedelta(minutes=2)
    assert count_rows(world.store.claim(later)) == 1


def test_a_company_is_worked_for_one_batch_at_a_time(world: World) -> None:
    world.seed(3, name="first", priority=1)
    world.seed(3, name="second")
    assert count_rows(world.store.claim(world.store.now())) == 3
    assert count_rows(world.store.claim(world.store.now())) == 0
    world.work()
    assert count_rows(world.store.claim(world.store.now())) == 3


def test_a_company_that_is_worked_elsewhere_does_not_take_the_turn_of_another(world: World) -> None:
    world.seed(["a"], name="first")
    assert count_rows(world.store.claim(world.store.now())) == 1
    world.seed(["a", "b"], name="second")
    cap(world, 2)
    (chunk,) = world.store.claim(world.store.now())
    assert chunk.company_ids == [world.sql("SELECT id FROM companies WHERE key = 'b'")[0]["id"]]


def test_one_claim_takes_a_company_once_though_two_batches_have_it(world: World) -> None:
    world.seed(["shared", "a"], name="first")
    world.seed(["shared", "b"], name="second")
    assert count_rows(world.store.claim(world.store.now())) == 3


def test_the_index_refuses_a_second_row_in_flight(world: World) -> None:
    world.seed(1, name="first")
    world.seed(1, name="second")
    with pytest.raises(psycopg.errors.UniqueViolation):
        world.sql(
            "UPDATE workflow_states SET status = 'QUEUED', lease_expires_at = now(), attempt = 1"
        )


def test_a_locked_row_is_passed_over_and_not_waited_for(world: World, url: str) -> None:
    world.seed(3)
    with psycopg.connect(libpq_url(url)) as other:
        other.execute("SELECT FROM workflow_states ORDER BY company_id LIMIT 1 FOR UPDATE")
        world.sql("SET lock_timeout = '2s'")
        chunks = world.store.claim(world.store.now())
        assert sorted(i for c in chunks for i in c.company_ids) == world.ids()[1:]


def test_a_row_that_waits_is_not_claimed_in_place_of_one_that_is_locked(
    world: World, url: str
) -> None:
    locked, waiting = world.seed(2) and world.ids()
    world.sql(
        "UPDATE workflow_states SET available_at = now() + interval '1 minute'"
        " WHERE company_id = %(id)s",
        id=waiting,
    )
    with psycopg.connect(libpq_url(url)) as other:
        held = "SELECT FROM workflow_states WHERE company_id = %s FOR UPDATE"
        other.execute(held, [locked])
        assert world.store.claim(world.store.now()) == []


def test_a_batch_whose_rows_all_wait_takes_no_share(world: World) -> None:
    cap(world, 4)
    world.seed(4, name="waits", priority=5)
    world.sql("UPDATE workflow_states SET available_at = now() + interval '1 minute'")
    world.seed([f"ready-{i}" for i in range(4)], name="ready")
    assert count_rows(world.store.claim(world.store.now())) == 4


def test_two_claimers_together_keep_to_the_cap(world: World, url: str) -> None:
    """The second waits for the first's transaction, which is held open where it matters."""
    world.seed(20)
    cap(world, 10)
    taken: list[int] = []

    def claim_too() -> None:
        with Store.connect(url) as second:
            taken.append(count_rows(second.claim(second.now())))

    with psycopg.connect(libpq_url(url)) as first:
        first.execute("SELECT pg_advisory_xact_lock(hashtext('tracer.claim'))")
        first.execute(
            "UPDATE workflow_states SET status = 'QUEUED', lease_expires_at = now(), attempt = 1"
            " WHERE ctid = ANY(ARRAY(SELECT ctid FROM workflow_states LIMIT 8))"
        )
        thread = Thread(target=claim_too)
        thread.start()
        with psycopg.connect(libpq_url(url), autocommit=True) as watch:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while watch.execute(waiting).fetchone() == (0,):
                assert thread.is_alive(), "the second claimer did not wait"
        first.commit()
    thread.join()
    assert taken == [2]


def test_chunks_have_the_registrys_size_and_one_step_each(world: World) -> None:
    world.seed(25, ["normalize"])
    world.operator.set_step("normalize", {"chunk_size": 10})
    chunks = world.store.claim(world.store.now())
    assert [len(chunk.company_ids) for chunk in chunks] == [10, 10, 5]
    assert {chunk.step_name for chunk in chunks} == {"normalize"}
    assert {a for chunk in chunks for a in chunk.attempts} == {1}
