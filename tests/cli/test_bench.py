"""`tracer bench`: a small one, to its end."""

import json
import os
import subprocess

from tests.cli.test_process import COMMAND
from tests.scratch import place


def test_all_is_done_and_measured_in_a_database_of_its_own() -> None:
    """In a process of its own: its steps would stay registered in this one."""
    small = ("bench", "--companies", "20", "--steps", "2", "--poll", "0.05")
    seen = {**os.environ, "TMPDIR": str(place()), "TRACER_WORKER_PROCESSES": "1"}
    found = json.loads(subprocess.check_output([*COMMAND, *small], env=seen))
    assert (found["companies"], found["steps"]) == (20, 2)
    assert found["company_steps_per_s"] > 0
