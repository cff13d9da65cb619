"""Finds the columns of a company's key, name and domain in a seed file, and reads their cells."""

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reconciler.contract.errors import BadInput

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

FIELDS = ("key", "name", "domain")

# Postgres refuses index entries above 2,704 bytes, and a character may take four of them.
KEY_LIMIT = 600

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

_LABEL = r"[^\s.:/?#@,;<>\"'()\[\]]+"
_ADDRESS = re.compile(
    rf"(?:[a-z][a-z0-9+.-]*://|//|mailto:)?(?:[^/?#@]*@)?(?:www\.)?"
    rf"((?:{_LABEL}\.)+{_LABEL})\.?(?::\d*)?(?:[/?#].*)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Columns:
    """The columns of a file.

    `mapped` has the column of each field: key always, name and domain if found. `attributes` has
    all columns in the file's order, since every column is kept. For JSON lines it grows while later
    lines bring new names.
    """

    mapped: dict[str, str]
    attributes: list[str]

    @property
    def key_is_domain(self) -> bool:
        """Whether the domain is the key: then two spellings of one address are one company."""
        return self.mapped["key"] == self.mapped.get("domain")


def unique_names(header: Sequence[str]) -> list[str]:
    """Name every column once: an empty third name becomes "column_3", a second "Name" "Name_2"."""
    names: list[str] = []
    given = {cell.strip() for cell in header}
    for place, cell in enumerate(header, 1):
        name = cell.strip() or f"column_{place}"
        taken = given | set(names) if name in names or not cell.strip() else set()
        names.append(_numbered(name, taken) if name in taken else name)
    return names


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def map_columns(names: list[str], mapping: Mapping[str, str], key: str | None) -> Columns:
    """Find the column of each field: by `mapping` and `key` if given, else by the columns' names.

    If no column is a key, the domain is the key, else the name. `names` is kept, not copied.

    Raises:
        BadInput: a field or a column does not exist, or no column can be the key.
    """
    asked = _asked(mapping, key)
    mapped = {field: find_column(names, column) for field, column in asked.items()}
    for field in FIELDS:
        if field not in mapped and (found := _recognised(names, field)) is not None:
            mapped[field] = found
    if "key" not in mapped:
        mapped["key"] = _stand_in(mapped, names)
    return Columns({field: mapped[field] for field in FIELDS if field in mapped}, names)


def _asked(mapping: Mapping[str, str], key: str | None) -> dict[str, str]:
    unknown = [field for field in mapping if field not in FIELDS]
    if unknown:
        raise BadInput(f"No field is called {unknown[0]!r}: --map takes {', '.join(FIELDS)}.")
    if key is None:
        return dict(mapping)
    if mapping.get("key", key) != key:
        raise BadInput(f"The key is given twice, as {mapping['key']!r} and {key!r}: give it once.")
    return {**mapping, "key": key}


def _stand_in(mapped: Mapping[str, str], names: Sequence[str]) -> str:
    column = mapped.get("domain") or mapped.get("name")
    if column is None:
        raise BadInput(
            "No column looks like a company's key, domain or name: name one with --key COLUMN. "
            f"{_some(names)}"
        )
    return column


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


def _recognised(names: Sequence[str], field: str) -> str | None:
    for pattern in _PATTERNS[field]:
        for name in names:
            if pattern.fullmatch(_squashed(name)):
                return name
    return None


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def host_of(text: str) -> str | None:
    """The host of a web or e-mail address, in lower case, without "www."; None without a dot."""
    found = _ADDRESS.fullmatch(text.strip().lower())
    return found[1] if found else None
