"""`tracer bench`: a small one, to its end."""

import json
import subprocess

from tests.cli.test_process import COMMAND


def test_all_is_done_and_measured_in_a_database_of_its_own() -> None:
    """In a process of its own: its steps would stay registered in this one."""
    small = ("bench", "--companies", "100", "--steps", "2", "--poll", "0.05")
    found = json.loads(subprocess.check_output([*COMMAND, *small]))
    assert (found["companies"], found["steps"]) == (100, 2)
    assert found["company_steps_per_s"] > 0
