"""The registry follows the steps in code: where they are, and what they need."""

from dataclasses import replace

import pytest

from reconciler.contract.errors import BadInput
from reconciler.schema.steps import sync_steps
from tests.world import STEPS, World
from workers.kit import Step
from workers.signature import Input
from workers.steps.normalize import Normalized
from workers.steps.step_a import StepA


def needing(**tables: tuple[type, ...]) -> dict[str, Step]:
    """The bundled steps, of which some need these tables."""
    return {
        name: replace(step, signature=replace(step.signature, inputs=inputs(tables.get(name, ()))))
        for name, step in STEPS.items()
    }


def inputs(tables: tuple[type, ...]) -> tuple[Input, ...]:
    return tuple(Input(f"input_{n}", table, True) for n, table in enumerate(tables))


def needs(world: World) -> dict[str, list[str]]:
    return {row["step_name"]: row["needs"] for row in world.operator.steps()}


def test_what_a_step_needs_follows_the_code(world: World, url: str) -> None:
    both = needing(step_b=(Normalized, StepA, Normalized))
    assert sync_steps(url, both) == ["Step step_b: needs no other step -> needs normalize, step_a"]
    assert needs(world) == {"normalize": [], "step_a": [], "step_b": ["normalize", "step_a"]}
    assert sync_steps(url, both) == []
    assert sync_steps(url, STEPS) == ["Step step_b: needs normalize, step_a -> needs no other step"]
    assert needs(world)["step_b"] == []


def test_a_new_step_says_what_it_needs(world: World, url: str) -> None:
    world.sql("DELETE FROM enrichment_registry")
    assert sync_steps(url, needing(step_a=(Normalized,))) == [
        "Step normalize registered",
        "Step step_a registered: it needs normalize",
        "Step step_b registered",
    ]


def test_a_table_that_no_step_makes_is_refused_before_anything_is_written(
    world: World, url: str
) -> None:
    world.sql("DELETE FROM enrichment_registry")
    found = needing(step_a=(Normalized,))
    del found["normalize"]
    with pytest.raises(BadInput) as error:
        sync_steps(url, found)
    assert error.value.says == (
        "Step step_a needs the table normalized, and no step here makes it: add the package that "
        "has its step to TRACER_STEPS."
    )
    assert world.operator.steps() == []


def test_the_version_of_the_code_is_in_the_registry(world: World, url: str) -> None:
    known = {row["step_name"]: row["version"] for row in world.operator.steps()}
    assert known == {name: step.version for name, step in STEPS.items()}
    changed = STEPS | {"step_a": replace(STEPS["step_a"], version="abc")}
    before = STEPS["step_a"].version
    assert sync_steps(url, changed) == [f"Step step_a: version {before} of its code -> abc"]
    assert sync_steps(url, changed) == []
    world.sql("UPDATE enrichment_registry SET version = NULL")
    assert sync_steps(url, STEPS) == [], "a registry of before says nothing of it"


def test_a_setting_keeps_its_value_where_the_needs_change(world: World, url: str) -> None:
    world.operator.set_step("step_a", {"chunk_size": 7})
    sync_steps(url, needing(step_a=(Normalized,)))
    (row,) = [row for row in world.operator.steps() if row["step_name"] == "step_a"]
    assert (row["chunk_size"], row["needs"]) == (7, ["normalize"])
