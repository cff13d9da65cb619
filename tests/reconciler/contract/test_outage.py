"""A database that is away is said once, and that it is back too."""

from time import monotonic

import psycopg

from reconciler.contract.outage import Outage


def test_an_answer_to_what_was_asked_before_is_no_sign_that_it_is_back() -> None:
    said: list[str] = []
    outage = Outage(said.append)
    asked_before = monotonic()
    assert outage.wait(psycopg.OperationalError("closed")) == 0.5
    outage.over(asked_before)
    assert outage.wait(psycopg.OperationalError("closed")) == 1.0
    assert said == ["The database is away, waiting for it: closed"]
    outage.over(monotonic())
    assert said[1:] == ["The database is back"]
