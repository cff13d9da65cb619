"""Starts Tracer's own modules, whatever the working directory contains.

The working directory may have a folder `workers` or `cli`, and Python searches it first by default.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.contract.settings import Settings

PYTHON = (sys.executable, "-P")


def child_environment(settings: Settings, database_url: str) -> dict[str, str]:
    """The environment for a child process with these settings and this database."""
    return safe_environment() | settings.environment() | {"DATABASE_URL": database_url}


def safe_environment() -> dict[str, str]:
    """This environment, changed so that Python does not search the working directory first."""
    path = os.pathsep.join(_elsewhere(os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}


def _elsewhere(python_path: str) -> Iterator[str]:
    here = Path.cwd()
    for entry in filter(None, python_path.split(os.pathsep)):
        if Path(entry).resolve() != here:
            yield entry
