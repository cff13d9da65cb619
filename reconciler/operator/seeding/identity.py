"""Says which company a row is: by its key, else its domain, else its name.

Rows of one company come to one key, whatever spelling they have. A host that many companies share
identifies nobody by itself: there a page on it does, else the next column.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from reconciler.operator.seeding.addresses import address_in, page_of, visible
from reconciler.operator.seeding.columns import FIELDS, JSON, Columns, text_of
from reconciler.operator.seeding.shared_hosts import SharedHosts, bundled, sharing

Pick: TypeAlias = Callable[[str], Callable[[Any], JSON]]

# Postgres refuses index entries above 2,704 bytes, and a character may take four of them.
KEY_LIMIT = 600

# What people and programs write where they know nothing. All rows with it would be one company.
_FILLERS = frozenset(("n/a", "#n/a", "n.a.", "none", "null", "nan", "unknown"))
_AS_ADDRESS = re.compile(r"https?:|mailto:|www\.|[^\s@/]+@[^\s@/]+$", re.IGNORECASE)
# What may follow a host's name in the name of the company that owns it: "Etsy, Inc.".
_OWNER = re.compile(
    r"(?:com|inc|incorporated|corp|corporation|co|company|ltd|limited|llc|plc|gmbh|ag|se|sa|nv|bv"
    r"|ab|group|holdings?|international|technolog(?:y|ies)|communications|entertainment|networks?"
    r"|platforms|software|systems)*"
)


class By(StrEnum):
    """What says which company a row is. PAGE: an address on a host that many share."""

    KEY = "key"
    DOMAIN = "domain"
    PAGE = "page"
    NAME = "name"


# Which company a row is: its key, its name as written, and its own host. What an address says: the
# company's own host, its key, and by what. Both are bare tuples: an object of each for every row
# took a tenth of the reading time.
Who: TypeAlias = tuple[str, str | None, str | None]
Site: TypeAlias = tuple[str | None, str | None, By]
NO_SITE: Site = None, None, By.DOMAIN


class Identity:
    """Identifies the rows of one file, and counts them by what identified them.

    `system` scopes the values of key columns, so that the ids of two systems do not meet.
    """

    def __init__(
        self, columns: Columns, pick: Pick, shared: SharedHosts, system: str | None = None
    ) -> None:
        self.counts: Counter[tuple[By, str]] = Counter()
        self._columns = columns
        self._shared = shared
        self.system = system
        self._prefix = f"{system}:" if system else ""
        self._name, self._domain = (
            pick(columns.mapped[field]) if field in columns.mapped else _nothing
            for field in FIELDS[1:]
        )
        self._keys = [(column, self._kind(column), pick(column)) for column in columns.keys]

    def _kind(self, column: str) -> By:
        found = (by for by in (By.DOMAIN, By.NAME) if self._columns.mapped.get(by) == column)
        return next(found, By.KEY)

    def of(self, values: Any) -> Who | str:
        """Which company a row is, or why nobody can tell."""
        name = text_of(self._name(values))
        address = text_of(self._domain(values))
        domain, at, site_by = NO_SITE if address is None else site_of(address, name, self._shared)
        for column, kind, cell in self._keys:
            if kind is By.DOMAIN:
                key, by = at, site_by
            else:
                key, by = self._key(kind, text_of(cell(values))), kind
            if key is not None and len(key) <= KEY_LIMIT:
                self.counts[by, column] += 1
                return key, name, domain
        return "; ".join(_reason(column, kind, cell(values)) for column, kind, cell in self._keys)

    def _key(self, kind: By, text: str | None) -> str | None:
        """The key that the cell of a key column or of the name column gives."""
        if text is None or is_filler(text):
            return None
        if kind is By.NAME:
            return visible(text) or None
        if _AS_ADDRESS.match(text):
            return _address_key(text, self._shared)  # the same in every system
        key = visible(text)
        return self._prefix + key if key else None


def _nothing(_: object) -> None:
    return None


def is_filler(text: str) -> bool:
    """Whether a text stands for nothing: "N/A", or no more than signs such as "-"."""
    if text.lower() in _FILLERS:
        return True
    return not text.isalnum() and all(unicodedata.category(char)[0] in "PZ" for char in text)


def site_of(text: str, name: str | None, shared: SharedHosts) -> Site:
    """What the address in a text says about the company of that name."""
    address = address_in(text)
    if address is None:
        return NO_SITE
    entry = sharing(address.host, shared)
    if entry is None:
        return address.host, address.host, By.DOMAIN
    user = entry.users and address.host != entry.host
    page = page_of(
        address,
        address.host if user else entry.host,
        case=entry.case,
        parameters=entry.parameters,
    )
    if page is None and user and not address.mailbox:
        page = address.host
    if page is None and not address.mailbox and _owns(name, address.host, entry.host):
        return address.host, address.host, By.DOMAIN
    return None, page, By.PAGE


def _address_key(text: str, shared: SharedHosts) -> str:
    """The key of an address in a key column: its host or page, else the mailbox or the text."""
    _, key, _ = site_of(text, None, shared)
    seen = visible(text)
    return key or (seen.lower().removeprefix("mailto:") if "@" in seen else seen)


def _owns(name: str | None, host: str, shared: str) -> bool:
    """Whether a company of that name is the one that the shared host belongs to: Etsy, etsy.com."""
    if host != shared:
        return False
    plain = "".join(filter(str.isalnum, (name or "").lower()))
    bare = host.replace("-", "")
    return any(
        plain.startswith(own) and _OWNER.fullmatch(plain, len(own))
        for own in (bare.replace(".", ""), bare.partition(".")[0])
    )


def spellings(text: str) -> list[str]:
    """The keys that a person may mean by a text, the likeliest first."""
    domain, at, _ = site_of(text, None, bundled())
    found = (text, visible(text), at, domain)
    return list(dict.fromkeys(key for key in found if key))


def _reason(column: str, kind: By, cell: JSON) -> str:
    given = text_of(cell)
    if given is None:
        blank = cell is None or isinstance(cell, str)
        return f"no value{'' if blank else ' that is text or a number'} in key column {column!r}"
    if len(given) > KEY_LIMIT:
        return f"the key in column {column!r} is longer than {KEY_LIMIT} characters"
    if kind is By.DOMAIN:
        if (address := address_in(given)) is None:
            return f"no host in key column {column!r}: {given[:80]!r}"
        return f"many companies share the host {address.host} in key column {column!r}"
    return f"{given[:80]!r} in key column {column!r} names no company"


def by_column(counts: Mapping[tuple[By, str], int]) -> dict[str, int]:
    """The rows by the column that identified them."""
    found: Counter[str] = Counter()
    for (_, column), rows in counts.items():
        found[column] += rows
    return dict(found)


def by_kind(counts: Mapping[tuple[By, str], int]) -> dict[str, int]:
    """The rows by what identified them, zeros included."""
    found = dict.fromkeys(map(str, By), 0)
    for (by, _), rows in counts.items():
        found[by] += rows
    return found
