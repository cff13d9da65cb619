"""The versions of a container's libraries: those that are installed here, down to the last one.

Of a library that is not pinned pip would take the newest, which is not the one that ran here.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

PYTHON = "3.12"
PACKAGES = (
    "sqlmodel",
    "psycopg",
    "psycopg-binary",
    "psycopg-pool",
    "pydantic-settings",
    "aiohttp",
    "tldextract",
    "packaging",
)
# What requirements ask of the machine: a container's answers, wherever a deploy runs.
CONTAINER = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}


def pins(own: Iterable[str] = ()) -> list[str]:
    """`PACKAGES` and all that they need, each as it is installed here.

    What the requirements `own` name is left out: they say its version. So is what is not installed,
    since only a container needs it.
    """
    taken = set(_names(own))
    found = _closure(PACKAGES)
    return sorted(f"{name}=={version}" for name, version in found.items() if name not in taken)


def _names(requirements: Iterable[str]) -> Iterator[str]:
    for text in requirements:
        try:
            yield canonicalize_name(Requirement(text).name)
        except InvalidRequirement:  # an address: pip reads more than requirements
            continue


def _closure(roots: Iterable[str]) -> dict[str, str]:
    """The version of each library that is needed, by name."""
    versions, seen = dict[str, str](), set[tuple[str, str]]()
    open_ = [(canonicalize_name(name), "") for name in roots]
    while open_:
        if (one := open_.pop()) in seen:
            continue
        seen.add(one)
        name, extra = one
        try:
            here = distribution(name)
        except PackageNotFoundError:
            continue
        versions[name] = here.version
        for needed in map(Requirement, here.requires or ()):
            if needed.marker is None or needed.marker.evaluate({**CONTAINER, "extra": extra}):
                key = canonicalize_name(needed.name)
                open_ += [(key, part) for part in ("", *needed.extras)]
    return versions
