"""Programs of the system that some tests need."""

import os
import shutil

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin"


def find_program(name: str, *other_names: str) -> str:
    """Its path. Without it the test is skipped, or fails where CI is set."""
    found = next(filter(None, (shutil.which(one, path=PATH) for one in (name, *other_names))), "")
    if not found:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{name} is not installed: apt-get install {name}")
    return found
