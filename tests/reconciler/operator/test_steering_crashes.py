"""A command may end at every boundary: it has told what it did, and another does the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from reconciler.operator import history, steering
from reconciler.operator.batch import BatchView
from reconciler.operator.history import read_history
from reconciler.operator.sql import rerun
from reconciler.operator.sql import steering as queries
from reconciler.operator.store import OperatorStore
from tests.system.crash import Death, Place, Probe, probing, statements
from tests.tiers import all_but
from tests.world import World, doing, wait_until
from workers.kit import PermanentError

ROWS = 5
CHUNK = 3
Verb = Callable[[OperatorStore, BatchView], object]


def refuse(_: object) -> object:
    raise PermanentError("no such company")


@dataclass(frozen=True)
class Case:
    """A verb, what it finds, and the rows per status when it has been done."""

    does: Verb
    failed: bool
    ends: dict[str, int]
    told: int  # the rows of its lines


AGAIN = steering.Rerun("normalize")
LIVING = {"COMPLETED": 1, "QUEUED": 2, "PENDING": 2}
CASES = {
    "retry": Case(lambda o, b: steering.retry(o, b), True, {"PENDING": ROWS}, ROWS),
    "rerun": Case(lambda o, b: steering.rerun(o, b, AGAIN), True, {"PENDING": ROWS}, ROWS),
    "cancel": Case(lambda o, b: steering.cancel(o, b), False, {"COMPLETED": 1, "CANCELLED": 4}, 4),
    "pause": Case(lambda o, b: steering.pause(o, b), False, LIVING, 2),
    "priority": Case(lambda o, b: steering.set_priority(o, b, 7), False, LIVING, 2),
}


@pytest.fixture(autouse=True)
def _in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "CHUNK", CHUNK)


def prepare(world: World, case: Case) -> BatchView:
    """All FAILED; or one COMPLETED and not advanced, two in flight, two that wait."""
    world.sql("DELETE FROM batches")
    world.operator.set_step("normalize", {"max_in_flight": ROWS if case.failed else 3})
    world.seed(ROWS, ["normalize", "step_a"])
    world.tick()
    if case.failed:
        world.work(doing(refuse))
    else:
        world.work(ids=world.ids()[:1])
    return world.operator.batch("batch")


@contextmanager
def dying(url: str, probe: Probe) -> Iterator[OperatorStore]:
    with OperatorStore.connect(url) as operator, probing(probe):
        program = probe.watch("operator", operator)
        with suppress(Death):
            yield operator
    gone = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%(pids)s)"
    with OperatorStore.connect(url) as eyes:
        wait_until(lambda: not eyes.rows(gone, pids=list(program.backends)))


def lines(world: World, verb: str) -> int:
    """How many rows the history says that the verb moved."""
    found = read_history(world.operator, world.operator.batch("batch"))
    return sum(one["rows"] for one in found if one["verb"] == verb)


def moved(world: World, verb: str) -> int:
    """How many rows it has moved, as they are."""
    counts = world.statuses()
    if verb in ("retry", "rerun", "cancel"):
        return counts.get("CANCELLED" if verb == "cancel" else "PENDING", 0)
    batch = world.operator.batch("batch")
    return counts["PENDING"] if batch.paused or batch.priority == 7 else 0


def places(url: str, world: World, case: Case) -> list[Place]:
    """All that the verb crosses when it is left alone."""
    batch, probe = prepare(world, case), Probe()
    with dying(url, probe) as operator:
        case.does(operator, batch)
    return probe.crossed


@pytest.mark.parametrize("verb", all_but(["cancel"], CASES))
def test_a_command_that_dies_has_told_what_it_did(url: str, world: World, verb: str) -> None:
    case = CASES[verb]
    crossed = places(url, world, case)
    assert len(crossed) > 5
    # It goes from one straight to the next, so that after the one is before the other.
    for place, moment in [*((p, "before") for p in crossed), (crossed[-1], "after")]:
        batch, probe = prepare(world, case), Probe(doomed=(place, moment))
        with dying(url, probe) as operator:
            case.does(operator, batch)
        assert probe.dead, "nobody came there"
        assert lines(world, verb) == moved(world, verb), f"died {moment} {place}"
        if world.operator.batch("batch").status == "CANCELLED":
            assert not world.store.claim(world.store.now()), f"died {moment} {place}"
        case.does(world.operator, batch)
        assert world.statuses() == case.ends, f"died {moment} {place}"
        assert lines(world, verb) == case.told


def test_every_statement_of_the_operator_is_a_place(url: str, world: World) -> None:
    sent = [place.what for case in CASES.values() for place in places(url, world, case)]
    reads = Probe()
    with dying(url, reads) as operator:
        batch = operator.batch("batch")
        for look in (steering.unfinished, steering.failed, steering.rivals, read_history):
            look(operator, batch)
        steering.to_rerun(operator, batch, AGAIN)
        steering.failed_unknown(operator, batch)
        steering.retry(operator, batch, unknown=True)
        for of_waiting in (steering.waiting, steering.wake):
            of_waiting(operator, batch)
    sent += [place.what for place in reads.crossed]
    named = statements(queries, rerun, history)
    assert len(named) > 10
    assert [n for n, pattern in named.items() if not any(map(pattern.fullmatch, sent))] == []
