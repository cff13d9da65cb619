"""A step that needs another's result comes after it, or nothing is seeded."""

from collections.abc import Iterator, Mapping

import pytest

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.batch import SeedRow, seed_batch
from reconciler.operator.seeding.blueprint import corrected
from tests.terminal import Terminal
from tests.world import World


def need(world: World, **needs: list[str]) -> None:
    """Register what the steps need, as a sync does."""
    for step, others in needs.items():
        world.operator.sync_step(step, "tracer", {}, {"needs": others})


def rows_not_read() -> Iterator[SeedRow]:
    pytest.fail("a row was read")
    yield (2, "acme", None, None, {})


def refused(world: World, *blueprint: str) -> BadInput:
    """The error of such a seeding, which reads and writes nothing."""
    with pytest.raises(BadInput) as error:
        seed_batch(world.operator, rows_not_read(), name="b", blueprint=blueprint, columns=[])
    assert world.sql("SELECT name FROM batches") == []
    assert world.sql("SELECT key FROM companies") == []
    return error.value


def test_a_step_that_comes_too_early_is_named_with_a_blueprint_that_is_right(
    world: World,
) -> None:
    need(world, step_a=["normalize"])
    error = refused(world, "step_a", "step_b", "normalize")
    assert error.says == (
        "Step step_a needs the result of normalize: put normalize before step_a in the blueprint."
    )
    assert error.fix == "tracer seed FILE --blueprint normalize,step_a,step_b"


def test_a_step_that_is_missing_is_put_in_with_all_that_it_needs_itself(world: World) -> None:
    need(world, step_a=["normalize"], step_b=["step_a"])
    error = refused(world, "step_b")
    assert "needs the result of step_a" in error.says
    assert error.fix == "tracer seed FILE --blueprint normalize,step_a,step_b"


def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    need(world, step_a=["normalize"], step_b=["normalize", "step_a"])
    error = refused(world, "step_b", "step_a")
    assert error.says.count("needs the result of") == 3
    assert "put normalize before step_a" in error.says
    assert "put normalize before step_b" in error.says
    assert "put step_a before step_b" in error.says


def test_a_blueprint_in_order_is_seeded_whatever_stands_between(world: World) -> None:
    need(world, step_b=["normalize"])
    world.seed(2, ["normalize", "step_a", "step_b"])
    assert world.statuses() == {"PENDING": 2}


def test_a_batch_that_is_under_way_is_not_asked_again(world: World) -> None:
    world.seed(2, ["step_a", "normalize"])
    need(world, step_a=["normalize"])
    world.tick()
    world.work("step_a")
    assert world.tick().advanced == 2


@pytest.mark.parametrize(
    ("blueprint", "needs", "right"),
    [
        (["c", "b", "a"], {"c": ["a"]}, ["a", "c", "b"]),
        (["b", "a"], {"a": ["b"]}, ["b", "a"]),
        (["c"], {"c": ["a", "b"], "b": ["a"]}, ["a", "b", "c"]),
        (["a", "b"], {"a": ["b"], "b": ["a"]}, None),
        (["a"], {"a": ["gone"]}, None),
    ],
)
def test_the_order_is_kept_but_for_what_is_needed(
    blueprint: list[str], needs: Mapping[str, list[str]], right: list[str] | None
) -> None:
    assert corrected(blueprint, {"a": [], "b": [], "c": [], **needs}) == right


def test_the_command_line_ends_with_2_and_writes_nothing(
    tracer: Terminal, file: str, world: World
) -> None:
    need(world, step_a=["normalize"])
    tracer("seed", file, "--blueprint", "step_a,normalize", code=2)
    says = "put normalize before step_a in the blueprint: run `tracer seed FILE --blueprint "
    assert f"{says}normalize,step_a`." in " ".join(tracer.err.split())
    assert world.sql("SELECT name FROM batches") == []
