"""Web and e-mail addresses as people write them, and the one form of the host in them.

Case, "www.", ports, credentials, trailing dots, invisible characters and the two spellings of an
international name make no difference: MÜNCHEN.DE. and https://www.xn--mnchen-3ya.de:443/ have one
host, xn--mnchen-3ya.de.
"""

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote

import idna

_HOST = r"[^\s:/?#@\\,;|<>\"'()\[\]]+"  # what follows is not in it: nothing is tried twice
_ADDRESS = re.compile(
    # A scheme, also with a slip of the keys (http//, https:/); then credentials, or a mailbox.
    r"(?P<web>https?(?::[/\\]*|[/\\]+)|[a-z][a-z0-9+-]*:[/\\]+|[/\\]{2})?(?:mailto:)?"
    rf"(?:(?P<user>[^/?#@\\\s]*)@)?(?P<host>{_HOST})(?::\d*)?"
    r"(?P<path>[/\\][^?#]*)?(?:\?(?P<query>[^#]*))?(?:\#.*)?",
    re.DOTALL | re.IGNORECASE,
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label has a letter first and two characters or more: so "n.a." and "12.50" are no hosts.
_CANONICAL = re.compile(
    rf"(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]|(?:\d{{1,3}}\.){{3}}\d{{1,3}}"
)
# Most cells are a host in plain letters, perhaps as a URL without a path. Found by this pattern,
# one takes 1 µs instead of 3.
_USUAL = re.compile(
    r"(?:https?://)?(?:www\.)?(?!www\.)"
    r"((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}[a-z]{2,30})/?"
)
_LONGEST_HOST = 253
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # the full stops of East Asia
_SEPARATORS = re.compile(r"[\s,;|]+")
_AROUND = "<>()[]\"'"


class Address(NamedTuple):
    """An address: its host in the one form, and the rest as it was written.

    `mailbox`: it is an e-mail address, so the path is nobody's page.
    """

    host: str
    path: str = ""
    query: str = ""
    mailbox: bool = False


def visible(text: str) -> str:
    """The text without characters that cannot be seen, composed (NFC), with single spaces."""
    if not text.isascii():
        seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
        text = unicodedata.normalize("NFC", seen)
    return " ".join(text.split())


def address_in(text: str) -> Address | None:
    """The address that a text is, or the first of several; None if any of it is no address."""
    if usual := _USUAL.fullmatch(text.lower()):
        return Address(usual[1])
    found = _address(visible(text))
    if found is not None or len(words := _SEPARATORS.split(visible(text).strip(",;| "))) == 1:
        return found
    several = [_address(word) for word in words]
    return None if None in several else several[0]


def host_of(text: str) -> str | None:
    """The host of the address that a text is, in its one form; None if it is none."""
    found = address_in(text)
    return found.host if found else None


def _address(text: str) -> Address | None:
    match = _ADDRESS.fullmatch(text.translate(_DOTS).strip(_AROUND))
    host = canonical_host(match["host"]) if match else None
    if match is None or host is None:
        return None
    mailbox = match["user"] is not None and not match["web"]
    return Address(host, match["path"] or "", match["query"] or "", mailbox)


def canonical_host(host: str) -> str | None:
    """A host in its one form: lower case, ASCII (xn--…), without "www." and a last dot; or None."""
    if not host.isascii():
        try:
            host = idna.encode(unicodedata.normalize("NFKC", host), uts46=True).decode()
        except UnicodeError:  # of which idna's errors are
            return None
    host = host.lower().rstrip(".")
    while host.startswith("www.") and host.count(".") > 1:
        host = host.removeprefix("www.")
    return host if len(host) <= _LONGEST_HOST and _CANONICAL.fullmatch(host) else None


def page_of(address: Address, host: str, *, case: bool, parameters: frozenset[str]) -> str | None:
    """The name of a page on a shared `host`: host and path, as in linkedin.com/company/acme.

    None if the address has neither a path nor one of the `parameters`, or is a mailbox. Case
    counts only if `case`. What else is in the query says where a visitor came from.
    """
    if address.mailbox:
        return None
    parts = [part for part in map(visible, re.split(r"[/\\]+", _unquoted(address.path))) if part]
    pairs = (pair.partition("=") for pair in _unquoted(address.query).split("&"))
    named = [(name.lower(), value) for name, _, value in pairs if value]
    kept = sorted(f"{name}={value}" for name, value in named if name in parameters)
    if not parts and not kept:
        return None
    page = "/".join(parts)
    query = f"?{'&'.join(kept)}" if kept else ""
    return f"{host}/{page if case else page.lower()}{query}"


def _unquoted(text: str) -> str:
    """The text with %xx decoded, unless that makes characters that no key should have (%00)."""
    decoded = unquote(text)
    return decoded if decoded.isprintable() else text
