"""The benchmark of steps that wait for an API measures something, and all of it is done."""

import pytest

from tests.bench.api.__main__ import TYPED
from tests.bench.api.trial import Plan
from tests.bench.peers.__main__ import server


@pytest.mark.proof
def test_companies_that_wait_for_an_api_are_measured() -> None:
    settings = {"max_in_flight": 10, "concurrency": 10, "note": ""}
    plan = Plan("tiny", 20, 0.05, settings, warm_up=0)
    chain = Plan("chain", 5, 0, settings, warm_up=0, blueprint=TYPED, asks=False)
    with server() as postgres:
        asked = plan.run(postgres.url, postgres.postmaster, postgres.home)
        chained = chain.run(postgres.url, postgres.postmaster, postgres.home)
    assert asked.rows == 20
    assert 1 < asked.most_at_once <= 10
    assert 0.1 < asked.seconds < asked.commit_s
    assert asked.cpu_ms > 0
    assert chained.rows == 15
