"""Whatever the order of the verbs, and however late or often: rows move as TRANSITIONS says.

As in `test_interleavings`, where it says how to replay a run; but no transaction stays open.
"""

import pytest

from tests.system.machine.exploring import FEW, RUNS, explore


@pytest.mark.parametrize("times", [FEW, pytest.param(RUNS, marks=pytest.mark.proof)])
@pytest.mark.timeout(RUNS)  # a second for each is many times what it takes
def test_verbs_in_any_order(request: pytest.FixtureRequest, url: str, times: int) -> None:
    explore(request, url, times=times, most_held=0)
