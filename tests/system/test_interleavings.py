"""Whatever is under way meanwhile, rows move as TRANSITIONS says, and nothing is lost.

One run is a dozen verbs of two conductors, two workers and two operators, up to two of them in
transactions that stay open while others go on; then all are honest, and every batch must end.
To replay the runs of which one failed, take their seed from the output:

    pytest tests/system/test_interleavings.py --hypothesis-seed=N

and for as many runs as a night has room for:

    INTERLEAVINGS=50000 pytest tests/system/test_interleavings.py tests/system/test_any_order.py
"""

import pytest

from tests.system.machine.exploring import FEW, RUNS, explore


@pytest.mark.parametrize("times", [FEW, pytest.param(RUNS, marks=pytest.mark.proof)])
@pytest.mark.timeout(RUNS)  # a second for each is many times what it takes
def test_verbs_at_once(request: pytest.FixtureRequest, url: str, times: int) -> None:
    explore(request, url, times=times, most_held=2)
