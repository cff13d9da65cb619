"""A blueprint is read as it is meant, or refused by a sentence that names the place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.route import Route, parse_blueprint, read_route, written
from tests.world import World

FIXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
WATERFALL = [{"first": ["a", "b"]}]
ROUTES = {
    "a": Route(["a"], ["a"]),
    " a , b ": Route(["a", "b"], ["a", "b"]),
    "a|b": Route(WATERFALL, ["a", "b"], [2, 2]),
    "z, a | b ,c": Route(["z", *WATERFALL, "c"], [*"zabc"], [None, 3, 3, None]),
    '["z", {"first": ["a", "b"]}]': Route(["z", *WATERFALL], [*"zab"], [None, 3, 3]),
}
REFUSED = {
    "": "--blueprint is empty",
    "a,,b": "Place 2 of the blueprint is empty",
    "a,b|": 'Place 2 of the blueprint, in "first", is empty',
    "[]": "A blueprint is a list of places",
    "[1]": "Place 1 of the blueprint is 1. It must be a step's name",
    '["a", null]': "Place 2 of the blueprint is null",
    '[["a"]]': 'Place 1 of the blueprint is ["a"]',
    '[{"first": "a"}]': 'Place 1 of the blueprint: "first" needs a list of two steps or more',
    '[{"first": ["a"]}]': "two steps or more",
    '[{"first": ["a", {"first": ["b", "c"]}]}]': 'in "first", is {"first": ["b", "c"]}',
    '[{"first": ["a", "b"], "otherwise": "c"}]': "has 'otherwise' beside \"first\"",
    '[{"frist": ["a", "b"]}]': 'Place 1 of the blueprint is {"frist": ["a", "b"]}',
    '["a"': "is no JSON: Expecting ',' delimiter (line 1, column 5)",
    "[" * 100_000: "is no list of steps",
    "[" + "9" * 5000 + "]": "is no list of steps",
    "@nowhere.json": "The blueprint 'nowhere.json' cannot be read: No such file",
}


@pytest.mark.parametrize(("given", "route"), ROUTES.items())
def test_what_is_written_is_read(given: str, route: Route) -> None:
    assert parse_blueprint(given) == route


@pytest.mark.parametrize(("given", "says"), REFUSED.items(), ids=[k[:20] for k in REFUSED])
def test_what_is_no_blueprint_is_refused_by_its_place(given: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_blueprint(given)
    assert says in refused.value.says
    assert len(refused.value.says) < 300


def test_a_file_has_what_is_too_long_to_type(tmp_path: Path) -> None:
    file = tmp_path / "blueprint.json"
    file.write_text(json.dumps(["z", *WATERFALL]))
    assert parse_blueprint(f"@{file}").steps == [*"zab"]
    file.write_text("[" + " " * 1_000_000 + "]")
    with pytest.raises(BadInput, match="longer than 1,000,000 characters"):
        parse_blueprint(f"@{file}")
    file.write_bytes(b"\xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        parse_blueprint(f"@{file}")


def test_it_is_shown_as_it_is_typed() -> None:
    for short in ("a", "a,b", "z,a|b,c"):
        assert written(parse_blueprint(short).blueprint) == short


names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=3)
places = st.one_of(names, st.lists(names, min_size=2, max_size=4).map(lambda m: {"first": m}))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("first"), inner),
)


@FIXED
@given(st.lists(places, min_size=1, max_size=8))
def test_postgres_makes_the_same_route_as_python(world: World, blueprint: list[Any]) -> None:
    route = read_route(blueprint)
    part = "SELECT blueprint_part(%(it)s::jsonb, %(part)s) AS found"
    (steps,) = world.sql(part, it=json.dumps(blueprint), part="steps")
    (past,) = world.sql(part, it=json.dumps(blueprint), part="past")
    assert (steps["found"], past["found"]) == (route.steps, route.past)


@given(anything)
def test_whatever_is_given_is_a_route_or_bad_input(document: Any) -> None:
    try:
        route = read_route(document)
    except BadInput:
        return
    assert all(isinstance(step, str) and step for step in route.steps)
