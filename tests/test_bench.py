"""The benchmarks measure something: all of it is done, and the figures are of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.controlplane.terminal import ROOT

BENCHES = {
    "the whole lifecycle": ["-c", "from cli import main; main()", "bench"],
    "bare SQL": ["-m", "tests.bench.floor"],
}


def measured(*command: str) -> dict[str, Any]:
    """The one line that a benchmark prints."""
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("bench", BENCHES)
def test_a_benchmark_prints_what_it_measured(bench: str) -> None:
    found = measured(*BENCHES[bench], "--companies", "300", "--steps", "2")
    assert (found["companies"], found["steps"]) == (300, 2)
    rounded = 0.006  # seconds have two decimals
    assert found["seconds"] == pytest.approx(600 / found["company_steps_per_s"], abs=rounded)
