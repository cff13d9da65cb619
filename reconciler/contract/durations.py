"""Durations as people write them."""

import re

from reconciler.contract.errors import BadInput

UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|min|m|h|d|w|)")


def duration(given: str) -> float:
    """The seconds of `0.5`, `500ms`, `30s`, `2m`, `2min`, `1h`, `90d` or `2w`.

    Raises:
        BadInput: the text is not a duration above zero.
    """
    found = DURATION.fullmatch(given.strip())
    value = float(found[1]) * UNITS[found[2]] if found else 0.0
    if value <= 0:
        raise BadInput(
            f"{given!r} is not a duration above zero: write 0.5, 500ms, 30s, 2m, 1h or 90d."
        )
    return value
