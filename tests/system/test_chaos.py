"""The short form of `make chaos`: a minute of faults, and the batch lands whole."""

import json
import sys
import time

import pytest

from tests.system.chaos import run


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_a_batch_lands_whole_whatever_dies() -> None:
    seed = time.time_ns() % 10**6
    sys.stdout.write(f"repeat with: python -m tests.system.chaos --seed {seed}\n")
    figures = run(companies=1200, seconds=60, seed=seed)
    sys.stdout.write(json.dumps(figures) + "\n")
    faults = figures["faults"]
    assert isinstance(faults, dict)
    assert sum(faults.values()) >= 3
