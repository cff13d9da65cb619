"""The pure decisions."""

from datetime import UTC, datetime, timedelta

from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from reconciler.contract.claimed import Expired
from reconciler.contract.states import Status
from reconciler.policy import DIED_ALONE, DIED_SHARED, NOT_BEGUN, backoff, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANCES = st.floats(0, 1, exclude_max=True)


def expired(**changes: object) -> Expired:
    row = {
        "company_id": 1,
        "step_name": "step",
        "batch_id": 1,
        "attempt": 1,
        "forgiven": 0,
        "losses": 0,
        "status": Status.IN_PROGRESS,
        "available_at": NOW - timedelta(hours=1),
        "error_kind": None,
        "max_attempts": 3,
        "backoff_s": 10.0,
        "backoff_max_s": 60.0,
        "waits_since": None,
        "give_up_after_s": 3600.0,
        "recall": "none",
        "key_ttl_s": 60.0,
        "has_orders": False,
    }
    return Expired(**{**row, **changes})  # type: ignore[arg-type]


@given(st.integers(1, 10_000), st.floats(0, 1e4), st.floats(0, 1e6), CHANCES)
def test_the_wait_lies_in_the_upper_half_of_the_doubled_base(
    attempt: int, base_s: float, more_s: float, chance: float
) -> None:
    longest = min(base_s * 2.0 ** min(attempt - 1, 60), base_s + more_s)
    wait = backoff(attempt, base_s, base_s + more_s, chance).total_seconds()
    assert longest / 2 - 1e-6 <= wait <= longest + 1e-6


def test_the_wait_doubles_with_each_attempt_up_to_its_limit() -> None:
    waits = [backoff(attempt, 5, 30, chance=0.5).total_seconds() for attempt in range(1, 6)]
    assert waits == [3.75, 7.5, 15, 22.5, 22.5]


def test_the_last_attempt_fails_with_the_error_that_its_row_has() -> None:
    verdict = judge(expired(attempt=3, error_kind="raised"), NOW, 0.5)
    assert (verdict.available_at, verdict.error, verdict.error_kind) == (None, None, "raised")


def test_an_earlier_attempt_is_retried_after_its_backoff() -> None:
    failed = expired(attempt=2, error_kind="raised")
    assert judge(failed, NOW, 0).available_at == NOW + timedelta(seconds=10)


def test_a_retry_after_is_honoured_to_the_second() -> None:
    asked = NOW + timedelta(seconds=1234)
    assert judge(expired(available_at=asked), NOW, 0.9).available_at == asked


def test_being_asked_to_wait_costs_no_attempt_for_a_time() -> None:
    asked: dict[str, object] = {"error_kind": "retry_after", "attempt": 9, "forgiven": 8}
    at_first = judge(expired(**asked, max_attempts=1), NOW, 0)
    assert (at_first.forgiven, at_first.waits) == (True, True)
    assert at_first.available_at == NOW + timedelta(seconds=5)
    almost = judge(expired(**asked, waits_since=NOW - timedelta(seconds=3590)), NOW, 0)
    assert almost.waits
    over = judge(expired(**asked, waits_since=NOW - timedelta(seconds=3596)), NOW, 0)
    assert (over.available_at, over.error_kind, over.waits) == (None, "retry_after", False)
    assert over.error == "asked to wait for longer than 3600 s (give_up_after_s)"
    too_long = judge(expired(**asked, available_at=NOW + timedelta(hours=2)), NOW, 0)
    assert too_long.available_at is None


def test_a_row_that_says_nothing_gets_the_reason_of_its_state() -> None:
    queued = judge(expired(status=Status.QUEUED), NOW, 0)
    assert (queued.error, queued.error_kind) == (NOT_BEGUN, "not_begun")
    begun = judge(expired(losses=3), NOW, 0)
    assert (begun.error, begun.error_kind) == (DIED_ALONE, "worker_silent")
    beside = judge(expired(losses=2), NOW, 0)
    assert (beside.error, beside.error_kind) == (DIED_SHARED, "shared_worker")


def test_a_worker_that_dies_costs_an_attempt_only_of_the_row_that_it_worked_alone() -> None:
    beside = judge(expired(attempt=3, losses=2), NOW, 0)
    assert (beside.forgiven, beside.lost, beside.available_at) == (True, True, NOW)
    alone = judge(expired(attempt=5, forgiven=3, losses=3), NOW, 0)
    assert (alone.forgiven, alone.lost) == (False, True)
    assert alone.available_at
    assert judge(expired(attempt=6, forgiven=3, losses=4), NOW, 0).available_at is None


def test_a_step_that_allows_one_attempt_is_not_called_again_after_its_worker_died() -> None:
    once = judge(expired(max_attempts=1), NOW, 0)
    assert (once.available_at, once.error_kind) == (None, "shared_worker")


def test_what_a_worker_was_told_to_stop_goes_on_at_once_and_costs_nothing() -> None:
    verdict = judge(expired(attempt=3, error_kind="stopped"), NOW, 0.9)
    assert (verdict.forgiven, verdict.lost, verdict.available_at) == (True, False, NOW)


def test_a_spawn_without_an_answer_costs_no_attempt() -> None:
    unanswered = {"status": Status.QUEUED, "error_kind": "spawn_unknown"}
    verdict = judge(expired(attempt=3, **unanswered), NOW, 0)
    assert (verdict.forgiven, verdict.error_kind) == (True, "spawn_unknown")
    assert verdict.available_at


@freeze_time("2031-07-01")
def test_no_decision_reads_a_clock() -> None:
    """Frozen years away, the verdict depends on the moment that was passed in alone."""
    failed = expired(error_kind="raised")
    assert judge(failed, NOW, 0).available_at == NOW + timedelta(seconds=5)
