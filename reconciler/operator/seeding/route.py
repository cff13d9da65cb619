"""Reads a blueprint: a JSON array, or its short form `a,b|c,d`, becomes a route."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.contract.errors import BadInput

FIRST = "first"
LONGEST = 1_000_000  # characters of a blueprint
FORMS = (
    'a step\'s name, such as "normalize", or {"first": ["a", "b"]}, which asks the next only where '
    "the one before has found nothing"
)


@dataclass(frozen=True)
class Route:
    """The way of a company through a blueprint.

    `blueprint` is the JSON array as it was given; `steps` are its steps by their places. `past`:
    for each member of a waterfall, the place at which a company goes on that it has found; None for
    the other places, and where there is no waterfall.
    """

    blueprint: list[Any]
    steps: list[str]
    past: list[int | None] | None = None

    @property
    def first(self) -> dict[str, Any]:
        """The first place, as `sql.seeding.STATES` names it."""
        return {"step": self.steps[0], "in_waterfall": bool(self.past and self.past[0])}


def parse_blueprint(given: str) -> Route:
    """The route of a text: `a,b|c,d`, a JSON array, or `@FILE` with one.

    Raises:
        BadInput: the text is no blueprint, or the file cannot be read.
    """
    given = given.strip()
    if given.startswith("@"):
        return read_route(_parsed(_text_of(given[1:]), given[1:]))
    if given.startswith("["):
        return read_route(_parsed(given, "--blueprint"))
    if not given:
        raise BadInput("--blueprint is empty: name the steps in order, as in --blueprint a,b.")
    places = [[name.strip() for name in place.split("|")] for place in given.split(",")]
    return read_route([names[0] if len(names) == 1 else {FIRST: names} for names in places])


def read_route(blueprint: Any) -> Route:
    """The route of a blueprint; its steps need not exist.

    Raises:
        BadInput: it is no blueprint; the message names the place.
    """
    if not isinstance(blueprint, list) or not blueprint:
        raise BadInput(f"A blueprint is a list of places, each {FORMS}.")
    groups = [_members(element, number) for number, element in enumerate(blueprint, 1)]
    steps = [step for _, members in groups for step in members]
    past = list(_past(groups))
    return Route(blueprint, steps, past if any(past) else None)


def written(blueprint: Sequence[Any]) -> str:
    """The short form of a blueprint: `a,b|c,d`."""
    return ",".join("|".join(_members(place, 0)[1]) for place in blueprint)


def _past(groups: Sequence[tuple[bool, list[str]]]) -> Iterator[int | None]:
    place = 0
    for is_waterfall, members in groups:
        place += len(members)
        yield from [place if is_waterfall else None] * len(members)


def _members(element: Any, number: int) -> tuple[bool, list[str]]:
    """Whether an element is a waterfall, and its steps."""
    where = f"Place {number} of the blueprint"
    if isinstance(element, dict) and FIRST in element:
        members = element[FIRST]
        if others := [name for name in element if name != FIRST]:
            raise BadInput(f'{where} has {others[0]!r} beside "{FIRST}": leave it out.')
        if not isinstance(members, list) or len(members) < 2:
            raise BadInput(f'{where}: "{FIRST}" needs a list of two steps or more.')
        return True, [_step(member, f'{where}, in "{FIRST}",') for member in members]
    return False, [_step(element, where)]


def _step(element: Any, where: str) -> str:
    if not isinstance(element, str):
        raise BadInput(f"{where} is {_shown(element)}. It must be {FORMS}.")
    if not element:
        raise BadInput(f"{where} is empty: name a step.")
    return element


def _shown(element: Any) -> str:
    """The beginning of an element, as JSON writes it."""
    text = json.dumps(element, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _text_of(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(LONGEST + 1)
    except OSError as error:
        raise BadInput(f"The blueprint {file!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"The blueprint {file!r} is not UTF-8 text.") from error


def _parsed(text: str, source: str) -> Any:
    if len(text) > LONGEST:
        raise BadInput(f"The blueprint of {source} is longer than {LONGEST:,} characters.")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadInput(f"The blueprint of {source} is no JSON: {error.msg} ({where}).") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of 5,000 digits
        raise BadInput(f"The blueprint of {source} is no list of steps: {error}.") from error
