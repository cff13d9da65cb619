"""`tracer explain` on rows that found nothing or were skipped: they are well, and go on."""

import re

import pytest

from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator.diagnosis.evidence import in_words
from reconciler.operator.diagnosis.explain import moves_by_itself
from reconciler.operator.diagnosis.reason import Code
from tests.reconciler.operator.diagnosis.explaining import facts, reason
from tests.world import World

AT = r" at [^(]+ \(\d\.\d s ago\)"
NO_DOMAIN = "NotFound: no such domain."
ENDS = {
    "unknown": (
        Failure(None, Status.NOT_FOUND),
        Code.NOT_FOUND,
        f"found nothing about this company{AT}",
    ),
    "raised": (
        Failure(NO_DOMAIN, Status.NOT_FOUND, kind=ErrorKind.NOT_FOUND),
        Code.NOT_FOUND,
        f"found nothing about this company{AT}: NotFound: no such domain",
    ),
    "skipped": (
        Failure("crawl has no result", Status.SKIPPED, kind=ErrorKind.INPUT_MISSING),
        Code.SKIPPED,
        f"was skipped for this company{AT}: crawl has no result",
    ),
}


def end(world: World, failure: Failure, *blueprint: str) -> None:
    world.seed(1, blueprint)
    world.tick()
    assert world.worker.fail(world.worker.begin("normalize", world.ids()), [failure])
    world.store.beat()


@pytest.mark.parametrize(("failure", "code", "says"), ENDS.values(), ids=ENDS)
def test_it_says_so_and_that_the_company_goes_on(
    world: World, failure: Failure, code: Code, says: str
) -> None:
    end(world, failure, "normalize", "step_a")
    found = reason(world)
    goes_on = "; the next tick takes the company to step_a"
    assert re.fullmatch(f"normalize {says}{goes_on}", found.says)
    assert (found.code, found.fix) == (code, None)
    assert moves_by_itself(facts(world))
    world.tick()
    assert facts(world).step == "step_a"


@pytest.mark.parametrize(("failure", "code", "says"), ENDS.values(), ids=ENDS)
def test_after_the_last_step_nothing_moves_any_more(
    world: World, failure: Failure, code: Code, says: str
) -> None:
    end(world, failure, "normalize")
    found = reason(world)
    assert re.fullmatch(f"normalize, the last step, {says}", found.says)
    assert (found.code, found.fix) == (code, None)
    assert not moves_by_itself(facts(world))


def test_what_keeps_it_from_the_next_step_is_the_reason(world: World) -> None:
    end(world, ENDS["skipped"][0], "normalize", "step_a")
    world.operator.set_polling(paused=True)
    assert reason(world).code == Code.POLLING_PAUSED
    world.sql("UPDATE batches SET status = 'CANCELLED', finished_at = now()")
    found = reason(world)
    assert found.code == Code.BATCH_CANCELLED
    assert found.says.startswith("normalize was skipped for this company at ")


@pytest.mark.parametrize("name", ENDS)
def test_its_text_is_a_reason_and_no_error(world: World, name: str) -> None:
    end(world, ENDS[name][0], "normalize")
    told = in_words(facts(world))
    assert told.get("reason") == ENDS[name][0].error
    assert "last error" not in told
