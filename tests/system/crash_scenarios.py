"""What may happen to a batch on its way: the scenarios in which programs die."""

import time

from reconciler.contract.recall import Recall
from reconciler.contract.results import Company
from reconciler.operator import steering
from tests.system.crash import HEART
from tests.system.crash_provider import Deal
from tests.system.crash_run import Run, Scenario
from workers.kit import PermanentError, RetryAfter
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA

# Calls are counted, and close together: a slow one is late.
LIMITS = {
    "windows": '[{"limit": 1000, "seconds": 3600}]',
    "spacing_s": 0.001,
    "max_concurrent": 2,
    "failures": 1,
}
QUICK_S = 0.09  # a lease of which the heart renews a third often


def fails_twice(_: Run, __: Company, number: int) -> Normalized:
    if number == 1:
        raise RetryAfter(30)
    if number == 2:
        raise ValueError("no answer")
    return Normalized()


def fails_at_first(_: Run, __: Company, number: int) -> Normalized:
    if number == 1:
        raise ValueError("no answer")
    return Normalized()


def one_of_many_fails_at_first(_: Run, company: Company, number: int) -> Normalized | ValueError:
    return ValueError("not read") if company.key == "b" and number == 1 else Normalized()


def finds_once(_: Run, company: Company, number: int) -> Normalized:
    return Normalized(domain=company.domain if number == 1 else None)


def always_fails(_: Run, company: Company, __: int) -> Normalized:
    raise ValueError(f"nothing is known of {company.key}")


def one_fails(_: Run, company: Company, __: int) -> Normalized:
    if company.key == "a":
        raise PermanentError("no such company")
    return Normalized()


def one_does_not_fit(_: Run, company: Company, __: int) -> StepA:
    return StepA(attribute_count=2**70 if company.key == "a" else 7)


def is_overtaken(run: Run, _: Company, number: int) -> Normalized:
    if number == 1:
        run.reconcile()  # its lease is over by then
        run.reconcile()  # and the row claimed anew
    return Normalized()


def fails_overtaken(run: Run, company: Company, number: int) -> Normalized:
    if number == 1:
        is_overtaken(run, company, number)
        raise ValueError("too late to matter")
    return Normalized()


def is_cancelled(run: Run, _: Company, __: int) -> Normalized:
    if not run.ended():
        steering.cancel(run.world.operator, run.world.operator.batch("batch"))
    return Normalized()


def takes_a_beat(run: Run, _: Company, __: int) -> Normalized:
    deadline = time.monotonic() + 10
    while run.working and not run.working.dead and not beats(run):
        assert time.monotonic() < deadline, "the heart does not beat"
        time.sleep(0.002)
    return Normalized()


def is_told_to_end(run: Run, _: Company, number: int) -> Normalized:
    """First the call that is not begun is stopped, then the one that is."""
    if number == 1 and run.turns == 1:
        for pending in (1, 2):
            run.stops.get(timeout=10)()
            deadline = time.monotonic() + 10
            while run.working and not run.working.dead and count(run, "PENDING") < pending:
                assert time.monotonic() < deadline, "nothing is released"
                time.sleep(0.002)
    return Normalized()


def count(run: Run, status: str) -> int:
    return run.world.statuses().get(status, 0)


def beats(run: Run) -> bool:
    return any(place.thread == HEART for place in run.probe.crossed)


SCENARIOS = [
    Scenario(
        "two batches share companies",
        {"normalize": {"COMPLETED": 3}, "step_a": {"COMPLETED": 3}},
        batches={"first": ("a", "b"), "second": ("b",)},
        blueprint=("normalize", "step_a"),
        settings={"chunk_size": 1},
        play={"normalize": finds_once, "step_a": lambda *_: StepA(attribute_count=1)},
    ),
    Scenario(
        "coroutines of two steps",
        {"normalize": {"COMPLETED": 2}, "step_a": {"COMPLETED": 2}},
        blueprint=("normalize", "step_a"),
        settings={"chunk_size": 2},
        play={"step_a": lambda *_: StepA(attribute_count=1)},
        flush_rows=1,
        on_loop=True,
    ),
    Scenario(
        "a step fails twice and then succeeds",
        {"normalize": {"COMPLETED": 1}},
        batches={"batch": ("a",)},
        play={"normalize": fails_twice},
    ),
    Scenario(
        "a step fails until its attempts are used up",
        {"normalize": {"FAILED": 1}},
        batches={"batch": ("a",)},
        settings={"max_attempts": 2},
        play={"normalize": always_fails},
    ),
    Scenario(
        "a permanent error",
        {"normalize": {"COMPLETED": 1, "FAILED": 1}, "step_a": {"COMPLETED": 1}},
        blueprint=("normalize", "step_a"),
        play={"normalize": one_fails, "step_a": lambda *_: StepA(attribute_count=1)},
        flush_rows=1,
    ),
    Scenario(
        "a result that its table refuses",
        {"step_a": {"COMPLETED": 1, "FAILED": 1}},
        blueprint=("step_a",),
        settings={"max_attempts": 2},
        play={"step_a": one_does_not_fit},
    ),
    Scenario(
        "spawns are refused",
        {"normalize": {"COMPLETED": 2}},
        settings={"chunk_size": 1},
        answers=("refused", "spawned", "refused"),
        named=True,
    ),
    Scenario(
        "the outcome of spawns is unknown",
        {"normalize": {"COMPLETED": 2}},
        settings={"chunk_size": 1},
        answers=("lost", "landed", "late"),
        named=True,
    ),
    Scenario(
        "a worker host dies with what it has not begun",
        {"normalize": {"COMPLETED": 2}},
        settings={"chunk_size": 1, "max_attempts": 2},
        answers=("spawned", "host dies"),
        hosted=True,
    ),
    Scenario(
        "a worker is told to end",
        {"normalize": {"COMPLETED": 3}},
        batches={"batch": ("a", "b", "c")},
        settings={"chunk_size": 3},
        play={"normalize": is_told_to_end},
        stopped=True,
    ),
    Scenario(
        "a lease ends while its worker goes on",
        {"normalize": {"COMPLETED": 1}},
        batches={"batch": ("a",)},
        play={"normalize": is_overtaken},
    ),
    Scenario(
        "a worker that was overtaken fails",
        {"normalize": {"COMPLETED": 1}},
        batches={"batch": ("a",)},
        play={"normalize": fails_overtaken},
    ),
    Scenario(
        "a batch is cancelled under way",
        {"normalize": {"CANCELLED": 2}},
        play={"normalize": is_cancelled},
        named=True,
    ),
    Scenario(
        "a step that takes a heartbeat",
        {"normalize": {"COMPLETED": 1}},
        batches={"batch": ("a",)},
        settings={"lease_s": QUICK_S},
        play={"normalize": takes_a_beat},
    ),
    Scenario(
        "a step fails for every company, is held, and goes on once it is mended",
        {"normalize": {"COMPLETED": 2}},
        settings={"hold_after": 2},
        play={"normalize": fails_at_first},
        resumed=True,
    ),
    Scenario(
        "two batches share what one has bought",
        {"normalize": {"COMPLETED": 3}},
        batches={"first": ("a", "b"), "second": ("b",)},
        deal=Deal(Recall.KEY, {"a": ["refused"], "b": ["refused"]}),
    ),
    Scenario(
        "a step that buys without a note of its calls",
        {"normalize": {"COMPLETED": 1, "NOT_FOUND": 1}},
        play={"normalize": lambda _, company, __: Normalized() if company.key == "a" else None},
        deal=Deal(Recall.AGAIN),
    ),
    Scenario(
        "a step that looks up what became of a call",
        {"normalize": {"COMPLETED": 2}},
        deal=Deal(Recall.LOOKUP, {"a": ["refused"], "b": ["lost"]}),
    ),
    Scenario(
        "a step that buys and can neither repeat nor look up a call",
        {"normalize": {"COMPLETED": 1, "FAILED": 1}},
        deal=Deal(Recall.NONE, {"a": ["refused"], "b": ["lost"]}),
    ),
    Scenario(
        "a step that buys for many with one call",
        {"normalize": {"COMPLETED": 2, "FAILED": 2}},
        batches={"batch": ("a", "b", "c", "d")},
        settings={"chunk_size": 4},
        play={"normalize": one_of_many_fails_at_first},
        deal=Deal(Recall.NONE, {"a": ["refused"], "c": ["lost"]}, bulk=2),
    ),
    Scenario(
        "a step that buys at a provider with limits, which was failing and is well again",
        {"normalize": {"COMPLETED": 2}},
        deal=Deal(Recall.KEY, {"a": ["refused"], "b": ["lost"]}, limits=LIMITS),
    ),
    Scenario(
        "a file that cannot be imported, until it is mended",
        {"normalize": {"COMPLETED": 2}},
        unloaded=3,
    ),
]
