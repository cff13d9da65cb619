"""Every verb, from every status, with fresh and stale attempts: rows move as TRANSITIONS says."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest

from reconciler.contract.claimed import Chunk, Room, Verdict
from reconciler.contract.results import Company
from reconciler.contract.states import ADVANCING, IN_FLIGHT, TERMINAL, TRANSITIONS, Status
from reconciler.contract.worker_store import Attempt, Failure
from reconciler.operator import steering
from tests.world import World, chunk_of
from workers.steps.normalize import Normalized

ATTEMPT = 3


def put(world: World, status: Status) -> dict[str, object]:
    """One row in `status`, at attempt 3, its lease over."""
    world.seed(1)
    world.sql(
        "UPDATE workflow_states SET status = %(status)s, attempt = %(attempt)s, holder = 'here-1',"
        " lease_expires_at = CASE WHEN %(in_flight)s THEN now() END,"
        " finished_at = CASE WHEN %(terminal)s THEN now() END",
        status=status,
        attempt=ATTEMPT,
        in_flight=status in IN_FLIGHT,
        terminal=status in TERMINAL,
    )
    return world.rows()[0]


def held(world: World, attempt: int) -> Attempt:
    row = world.rows()[0]
    company = Company.model_construct(id=row["company_id"])
    return Attempt(company, "normalize", row["batch_id"], attempt, lease_s=60)


def chunk(world: World, attempt: int) -> Chunk:
    row = world.rows()[0]
    return chunk_of("normalize", [row["company_id"]], row["batch_id"], attempt)


def fail(ends: Status | None) -> Callable[[World, int], object]:
    return lambda w, a: w.worker.fail([held(w, a)], [Failure("no", ends)])


def release(world: World, attempt: int) -> object:
    return world.store.release([chunk(world, attempt)], [world.store.now()], ["refused"])


def released(world: World, attempt: int) -> object:
    """By the conductor what is QUEUED, by the worker what it has begun."""
    if world.rows()[0]["status"] == Status.QUEUED:
        return release(world, attempt)
    return world.worker.release_begun([held(world, attempt)])


def give_back(world: World, _: int) -> object:
    return world.store.give_back(Room(holder="here-2", family="here-"), world.store.now())


def reap(available: bool) -> Callable[[World, int], object]:
    def apply(world: World, _: int) -> object:
        now = world.store.now() + timedelta(seconds=1)
        return world.store.reap(
            now, lambda _: Verdict(now if available else None, "expired", "worker_silent")
        )

    return apply


def advance_in_waterfall(world: World, _: int) -> object:
    world.sql("UPDATE workflow_states SET in_waterfall = true")
    return world.store.advance(world.store.now())


def claim_with(recall: str, order: str) -> Callable[[World, int], object]:
    """A claim, of a step with orders of which the company has one of another batch."""

    def apply(world: World, _: int) -> object:
        world.sql(
            "UPDATE enrichment_registry SET price = 1, fresh_for_s = 60, recall = %(recall)s",
            recall=recall,
        )
        world.sql(
            "INSERT INTO orders (company_id, step_name, batch_id, price, sent_at, tries,"
            " answered_at, charged, found)"
            f" SELECT id, 'normalize', 0, 1, now(), 1, {order} FROM companies"
        )
        return world.store.claim(world.store.now())

    return apply


# Verb -> (how it is done, where it takes the row); with a guard on the attempt or without one.
FENCED: dict[tuple[str, Status], Callable[[World, int], object]] = {
    ("release", Status.PENDING): released,
    ("heartbeat", Status.IN_PROGRESS): lambda w, a: w.worker.heartbeat([held(w, a)]),
    ("complete", Status.COMPLETED): lambda w, a: w.worker.complete([held(w, a)], [Normalized()]),
    ("miss", Status.NOT_FOUND): fail(Status.NOT_FOUND),
    ("skip", Status.SKIPPED): fail(Status.SKIPPED),
    ("fail", Status.IN_PROGRESS): fail(None),
    ("fail", Status.FAILED): fail(Status.FAILED),
}
FREE: dict[tuple[str, Status], Callable[[World, int], object]] = {
    **{("give_back", status): give_back for status in (Status.PENDING, Status.IN_PROGRESS)},
    ("claim", Status.QUEUED): lambda w, _: w.store.claim(w.store.now()),
    ("claim", Status.FAILED): claim_with("none", "NULL, NULL, NULL"),
    ("reuse", Status.COMPLETED): claim_with("again", "now(), 1, true"),
    ("reuse", Status.NOT_FOUND): claim_with("again", "now(), 1, false"),
    ("rerun", Status.PENDING): lambda w, _: steering.rerun(
        w.operator, w.operator.batch("batch"), steering.Rerun("normalize")
    ),
    ("begin", Status.IN_PROGRESS): lambda w, _: w.worker.begin("normalize", w.ids()),
    ("reap", Status.PENDING): reap(available=True),
    ("reap", Status.FAILED): reap(available=False),
    **{("advance", status): lambda w, _: w.store.advance(w.store.now()) for status in ADVANCING},
    ("advance", Status.FAILED): advance_in_waterfall,
    ("cancel", Status.CANCELLED): lambda w, _: steering.cancel(
        w.operator, w.operator.batch("batch")
    ),
}
EDGES = {(t.verb, target): t.sources for t in TRANSITIONS for target in t.targets}
NOT_YET = {("seed", Status.PENDING), ("retry", Status.PENDING)}


def test_every_verb_of_the_table_is_tried_here() -> None:
    assert FENCED.keys() | FREE.keys() | NOT_YET == EDGES.keys()


@pytest.mark.parametrize(("edge", "status"), [*product(FENCED, Status)])
def test_a_fenced_verb_moves_a_row_only_from_its_sources(
    world: World, edge: tuple[str, Status], status: Status
) -> None:
    before = put(world, status)
    won = FENCED[edge](world, ATTEMPT)
    after = world.rows()[0]
    if status in EDGES[edge]:
        assert won
        assert after["status"] == edge[1]
    else:
        assert not won
        assert after == before


@pytest.mark.parametrize(("edge", "attempt"), [*product(FENCED, (ATTEMPT - 1, ATTEMPT + 1))])
def test_a_fenced_verb_is_refused_to_another_attempt(
    world: World, edge: tuple[str, Status], attempt: int
) -> None:
    before = put(world, EDGES[edge][0])
    assert not FENCED[edge](world, attempt)
    assert world.rows()[0] == before
    assert world.sql("SELECT * FROM results.normalized") == []


def another_edge(edge: tuple[str, Status], status: Status) -> bool:
    """Whether the verb moves a row of this status along another edge."""
    return any(
        verb == edge[0] and target != edge[1] and status in sources
        for (verb, target), sources in EDGES.items()
        if status not in EDGES[edge]
    )


FREE_TRIES = [case for case in product(FREE, Status) if not another_edge(*case)]


@pytest.mark.parametrize(("edge", "status"), FREE_TRIES)
def test_a_free_verb_moves_a_row_only_from_its_sources(
    world: World, edge: tuple[str, Status], status: Status
) -> None:
    before = put(world, status)
    FREE[edge](world, ATTEMPT)
    after = world.rows()[0] | {"in_waterfall": before["in_waterfall"]}
    if status in EDGES[edge]:
        assert after["status"] == edge[1]
        assert after != before
    else:  # a cancel notes that an ended row has no successor: it moves on no further
        assert after | {"advanced": before["advanced"]} == before


def test_a_release_refunds_the_attempt_and_keeps_the_reason(world: World) -> None:
    put(world, Status.QUEUED)
    release(world, ATTEMPT)
    row = world.rows()[0]
    assert (row["attempt"], row["error"], row["queued_at"]) == (ATTEMPT - 1, "refused", None)
