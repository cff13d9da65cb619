"""Hosts that many companies share: mail providers, social networks, site builders, shops.

Such a host alone identifies nobody. A page on it does, as in linkedin.com/company/acme.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.addresses import host_of

BUNDLED = Path(__file__).with_name("shared_hosts.txt")
_WORDS = {"subdomains", "users", "case"}


class SharedHost(NamedTuple):
    """A host, and which part of an address on it says who somebody is.

    `subdomains`: each subdomain is somebody's own. `users`: each is a user, who may have several
    pages. Otherwise all subdomains are the same host. `case`: paths distinguish upper and lower
    case. `parameters`: these of a query belong to the page's name.
    """

    host: str
    subdomains: bool = False
    users: bool = False
    case: bool = False
    parameters: frozenset[str] = frozenset()


SharedHosts: TypeAlias = Mapping[str, SharedHost]


@cache
def bundled() -> SharedHosts:
    """The list that travels with Tracer."""
    return _listed(BUNDLED.read_text(encoding="utf-8").splitlines(), str(BUNDLED), {})


def shared_hosts(file: str | None) -> SharedHosts:
    """The bundled list, with the lines of `file` added.

    Raises:
        BadInput: the file cannot be read, or a line of it is no host.
    """
    if file is None:
        return bundled()
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"--shared-hosts: {file} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise BadInput(f"--shared-hosts: {file} is no UTF-8 text.") from None
    return _listed(lines, file, bundled())


def _listed(lines: Iterable[str], file: str, known: SharedHosts) -> SharedHosts:
    found = dict(known)
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        host = host_of(words[0].removeprefix("!"))
        wrong = next((w for w in words[1:] if w not in _WORDS and w[0] != "?"), None)
        if host is None or wrong:
            raise BadInput(
                f"{file}, line {number}: {wrong or words[0]!r} is no {'word' if wrong else 'host'}:"
                " write a host, and after it any of subdomains, users, case or ?parameter."
            )
        if words[0].startswith("!"):
            found.pop(host, None)
        else:
            found[host] = _entry(host, words[1:])
    return found


def _entry(host: str, words: list[str]) -> SharedHost:
    return SharedHost(
        host,
        subdomains="subdomains" in words,
        users="users" in words,
        case="case" in words,
        parameters=frozenset(word[1:].lower() for word in words if word.startswith("?")),
    )


def sharing(host: str, shared: SharedHosts) -> SharedHost | None:
    """The entry that makes this host a shared one, or None: then it is a company's own."""
    if host in shared:
        return shared[host]
    labels = host.split(".")
    for start in range(1, len(labels) - 1):
        entry = shared.get(".".join(labels[start:]))
        if entry is not None:
            return None if entry.subdomains else entry
    return None
