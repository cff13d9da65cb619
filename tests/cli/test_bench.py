"""`tracer bench`: a small one, to its end."""

from tests.terminal import Terminal


def test_all_is_done_and_measured_in_a_database_of_its_own(tracer: Terminal) -> None:
    found = tracer.json("bench", "--companies", "100", "--steps", "2", "--poll", "0.05")
    assert (found["companies"], found["steps"]) == (100, 2)
    assert found["company_steps_per_s"] > 0
    assert tracer.json("batches") == []
