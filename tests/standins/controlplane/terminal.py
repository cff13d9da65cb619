"""Runs Modal's real command against a control plane."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.protocols import Runner
from tests.standins.controlplane.server import serve

ROOT = Path(__file__).parents[3]


def modal(plane: ControlPlane, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `modal ARGUMENTS` says when it speaks to `plane`, whatever its exit status is."""
    return subprocess.run(
        [sys.executable, "-m", "modal", *arguments],
        cwd=ROOT,
        env=os.environ | plane.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deploy(plane: ControlPlane, *what: str) -> str:
    """`modal deploy WHAT`; its output.

    Raises:
        AssertionError: it failed.
    """
    said = modal(plane, "deploy", *what)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


@contextmanager
def project(url: str, runner: Runner | None = None) -> Iterator[ControlPlane]:
    """A plane with the project's secret, which names the database `url`, and the project's app."""
    with serve(runner) as plane:
        said = modal(plane, "secret", "create", "tracer-database", f"DATABASE_URL={url}")
        assert said.returncode == 0, said.stdout + said.stderr
        deploy(plane, "-m", "workers.app")
        yield plane
