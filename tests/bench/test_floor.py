"""The benchmarks measure something: all of it is done, and the figures are of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.standins.controlplane.terminal import ROOT


def measured(*command: str) -> dict[str, Any]:
    """The one line that a benchmark prints."""
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.proof
def test_the_lifecycle_and_its_floor_are_measured() -> None:
    found = measured(
        "-m", "tests.bench.floor", "--companies", "300", "--steps", "2", "--rounds", "1"
    )
    assert (found["companies"], found["steps"]) == (300, 2)
    (floor,), (tracer,) = found["floor_per_s"], found["tracer_per_s"]
    assert found["ratio"] == pytest.approx(tracer / floor, abs=0.006)  # it has two decimals


@pytest.mark.proof
def test_a_tick_and_its_statements_are_measured() -> None:
    found = measured("-m", "tests.bench.tick", "--rows", "50", "--rounds", "1")
    assert (found["rows"], found["rounds"]) == (150, 1)
    assert found["tick_ms"] > 0 < found["bare_ms"]
