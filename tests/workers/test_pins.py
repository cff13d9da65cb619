"""A container's libraries are those that are installed here."""

from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workers import pins as module
from workers.pins import PACKAGES, pins


def test_every_library_that_the_workers_need_is_pinned_as_it_is_here() -> None:
    found = dict(line.split("==") for line in pins())
    assert {canonicalize_name(name) for name in PACKAGES} <= found.keys()
    # Named by nobody here: SQLModel needs the first two, aiohttp the third, tldextract the last.
    assert {"sqlalchemy", "pydantic-core", "yarl", "requests"} <= found.keys()
    assert found == {name: version(name) for name in found}


def test_nothing_is_needed_that_is_not_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from any of them, its own needs are there too."""
    found = set(pins())
    for line in found:
        monkeypatch.setattr(module, "PACKAGES", (Requirement(line).name,))
        assert set(pins()) <= found


def test_what_only_another_platform_needs_is_not_pinned() -> None:
    names = {line.partition("==")[0] for line in pins()}
    assert not {"tzdata", "colorama", "mypy", "pytest"} & names


def test_a_step_says_the_version_of_what_it_names_itself() -> None:
    own = ("Requests<3", "git+https://example.org/x")
    assert {line.partition("==")[0] for line in set(pins()) - set(pins(own))} == {"requests"}
