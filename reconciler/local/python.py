"""How Tracer starts its own modules: the same ones whatever the working directory has.

A folder there may have a name of ours (`workers`, `cli`), and Python looks there first, unless it
is told otherwise.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.contract.settings import Settings

PYTHON = (sys.executable, "-P")


def child_environment(settings: Settings, database_url: str) -> dict[str, str]:
    """The environment of a child that is to have these settings and this database."""
    return safe_environment() | settings.environment() | {"DATABASE_URL": database_url}


def safe_environment() -> dict[str, str]:
    """The environment, less what has Python look into the working directory first."""
    path = os.pathsep.join(_elsewhere(os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def _elsewhere(python_path: str) -> Iterator[str]:
    here = Path.cwd()
    for entry in filter(None, python_path.split(os.pathsep)):
        if Path(entry).resolve() != here:
            yield entry
