"""The row that a file has for a company, and how it is laid over what is known."""

from collections.abc import Mapping
from typing import Any


def says(cell: Any) -> bool:
    """Whether a cell says something: it is neither null nor blank text."""
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def over(row: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A row over what is known; an empty cell covers nothing."""
    return {
        **known,
        **{name: cell for name, cell in row.items() if says(cell) or not says(known.get(name))},
    }


def own_row(own: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Name, domain and attributes of a company: those of its `own` row over what is known."""
    given = {name: own[name] or known[name] for name in ("name", "domain")}
    return {**given, "attributes": over(own["attributes"], known["attributes"])}
