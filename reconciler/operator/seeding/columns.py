"""Finds the columns of a company's key, name and domain in a seed file, and reads their cells."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from reconciler.contract.errors import BadInput

# A Decimal is a number that a float would round: see `exact_json`.
JSON: TypeAlias = "bool | int | float | Decimal | str | list[JSON] | dict[str, JSON] | None"

FIELDS = ("key", "name", "domain")
TRIED = ("key", "domain", "name")  # the order in which they identify a row

_WHO = "(?:company|organi[sz]ation|account|business|firm|employer|vendor|supplier|issuer|entity)"
_WHICH = "(?:full|legal|official|registered|corporate|primary|main|current|public)"
_SITE = "(?:website|homepage|webpage|webaddress)"

# Per field, the best pattern comes first. A pattern must match the whole header, reduced to letters
# and digits. So "Website Traffic" and "LinkedIn URL" are never taken for a domain.
_SYNONYMS = {
    "key": [f"{_WHO}?key", f"(?:{_WHO}|external|unique)(?:id|identifier)", "id"],
    "name": [
        f"{_WHICH}?{_WHO}{_WHICH}?name",
        f"(?:legal|official|registered)?name(?:of)?{_WHO}?",
        f"{_WHICH}?{_WHO}",
    ],
    "domain": [
        f"{_WHICH}?{_WHO}?{_WHICH}?(?:web|internet|email)?domain(?:name)?",
        f"{_WHICH}?{_WHO}?{_WHICH}?{_SITE}(?:url|address|link|domain)?{_WHICH}?",
        f"{_WHICH}?{_WHO}?{_WHICH}?(?:url|web)",
    ],
}
_PATTERNS = {field: [re.compile(each) for each in few] for field, few in _SYNONYMS.items()}


@dataclass(frozen=True)
class Columns:
    """The columns of a file.

    `mapped` has the column of each field: key always, name and domain if found. `attributes` has
    all columns in the file's order, since every column is kept. For JSON lines it grows while later
    lines bring new names. `keys` are the columns that may identify a row, in the order in which
    they are tried; the first one is the key in `mapped`.
    """

    mapped: dict[str, str]
    attributes: list[str]
    keys: list[str]


def unique_names(header: Sequence[str]) -> list[str]:
    """Name every column once: an empty third name becomes "column_3", a second "Name" "Name_2"."""
    names: list[str] = []
    taken, used = {cell.strip() for cell in header}, set[str]()
    numbers: dict[str, int] = {}
    for place, cell in enumerate(header, 1):
        given = cell.strip()
        name = given or f"column_{place}"
        if name in used or (not given and name in taken):
            name = _numbered(name, taken, numbers)
        names.append(name)
        used.add(name)
        taken.add(name)
    return names


def _numbered(name: str, taken: Collection[str], numbers: dict[str, int]) -> str:
    # The search goes on where it ended for the last column of this name: 80,000 may have one.
    number = numbers.get(name, 2)
    while f"{name}_{number}" in taken:
        number += 1
    numbers[name] = number + 1
    return f"{name}_{number}"


def map_columns(names: list[str], mapping: Mapping[str, str], key: str | None) -> Columns:
    """Find the column of each field: by `mapping` and `key` if given, else by the columns' names.

    `key` is one column, or several with commas between. Without it, a row is identified by a column
    that looks like a key, else by its domain, else by its name. `names` is kept, not copied.

    Raises:
        BadInput: a field or a column does not exist, or no column can identify a row.
    """
    asked, keys = _asked(mapping), _key_columns(names, _key(mapping, key))
    squashed = [_squashed(name) for name in names]
    mapped = {field: find_column(names, column) for field, column in asked.items()}
    for field in FIELDS:
        if field not in mapped and (place := _recognised(squashed, field)) is not None:
            mapped[field] = names[place]
    keys = keys or list(dict.fromkeys(mapped[field] for field in TRIED if field in mapped))
    if not keys:
        raise BadInput(
            "No column looks like a company's key, domain or name: name one with --key COLUMN. "
            f"{_some(names)}"
        )
    mapped["key"] = keys[0]
    return Columns({field: mapped[field] for field in FIELDS if field in mapped}, names, keys)


def _key(mapping: Mapping[str, str], key: str | None) -> str | None:
    if key is not None and mapping.get("key", key) != key:
        raise BadInput(f"The key is given twice, as {mapping['key']!r} and {key!r}: give it once.")
    return mapping.get("key", key)


def _asked(mapping: Mapping[str, str]) -> dict[str, str]:
    unknown = [field for field in mapping if field not in FIELDS]
    if unknown:
        raise BadInput(f"No field is called {unknown[0]!r}: --map takes {', '.join(FIELDS)}.")
    return {field: column for field, column in mapping.items() if field != "key"}


def _key_columns(names: Sequence[str], key: str | None) -> list[str]:
    """The columns that `key` names; a column's own name may have commas in it."""
    if key is None:
        return []
    parts = [part.strip() for part in key.split(",") if part.strip()]
    known = set(map(_squashed, names))
    several = all(_squashed(part) in known for part in parts) or _squashed(key) not in known
    if key in names or len(parts) < 2 or not several:
        return [find_column(names, key)]
    return list(dict.fromkeys(find_column(names, part) for part in parts))


def find_column(names: Sequence[str], wanted: str) -> str:
    """The column with this name: exact, else ignoring case, spaces and punctuation.

    Raises:
        BadInput: no column or several match; the message names the nearest.
    """
    if wanted in names:
        return wanted
    alike = [name for name in names if _squashed(name) == _squashed(wanted)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise BadInput(f"Column {wanted!r} may be any of {_quoted(alike)}: spell it exactly.")
    by_squashed = {_squashed(name): name for name in names}
    near = difflib.get_close_matches(_squashed(wanted), by_squashed, n=3)
    hint = f"Nearest: {_quoted([by_squashed[each] for each in near])}." if near else _some(names)
    raise BadInput(f"There is no column {wanted!r}. {hint}")


def _recognised(squashed: Sequence[str], field: str) -> int | None:
    """The place of the column that is plainly this field, by its name reduced by `_squashed`."""
    for pattern in _PATTERNS[field]:
        for place, name in enumerate(squashed):
            if pattern.fullmatch(name):
                return place
    return None


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether some cell is the name of a column that is known, and no two cells are the same."""
    names = [cell.strip() for cell in cells if cell.strip()]
    known = any(_recognised(list(map(_squashed, names)), field) is not None for field in FIELDS)
    return known and len(set(names)) == len(names)


def _squashed(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    # A header of symbols alone must not become empty: it would equal every other such header.
    return "".join(char for char in folded if char.isalnum()) or folded


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"The columns are {_quoted(names[:8])}{more}."


def text_of(value: JSON) -> str | None:
    """A cell as text: stripped, 66740.0 as "66740"; None if empty, a bool, a list or a dict."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return str(value)
