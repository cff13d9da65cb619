"""`tracer demo`, as a person runs it: the same file twice, and what its provider has counted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_the_demo_pays_once_and_its_figures_are_those_of_its_provider(tmp_path: Path) -> None:
    """All of the stack; it takes a minute."""
    environment = {**os.environ, "TRACER_HOME": str(tmp_path / "home")}
    environment.pop("DATABASE_URL", None)
    done = subprocess.run(
        [Path(sys.executable).with_name("tracer"), "demo", "--companies", "30", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    first, second = told["rounds"]
    counted, booked = first["provider"], first["booked"]
    assert first["agrees"]
    assert second["agrees"]
    assert booked["charged"] == counted["charged"] > 0
    assert booked["bought"] == counted["found"] + counted["unknown"]
    assert min(counted["unknown"], counted["limited"], counted["errors"]) > 0
    assert counted["calls"] == booked["bought"] + counted["limited"] + counted["errors"]
    assert set(second["provider"].values()) == {0}
    assert (second["booked"]["bought"], second["booked"]["charged"]) == (0, 0)
    assert second["booked"]["reused"] == booked["bought"]
