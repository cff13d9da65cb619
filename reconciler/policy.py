"""Pure decisions: retry or fail, and how long to wait. They read no clock and no database."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.contract.claimed import GROUP_SIZES, LIMIT, Chunk, Expired, Throttle, Verdict
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.recall import Recall
from reconciler.contract.states import Status

NOT_BEGUN = "no worker began it before its start deadline"
NOT_ITS_FAULT = (ErrorKind.SHARED_WORKER, ErrorKind.STOPPED)
HOLD_MAX_S = 60.0  # the longest wait of a throttled step: one call a minute tries again
MAY_BE_CHARGED = "its call may have been charged, and its answer is not known"
DIED_ALONE = "its worker died, or fell silent, while working it"
DIED_SHARED = "it shared a worker that died, or fell silent"


def backoff(attempt: int, base_s: float, max_s: float, chance: float) -> timedelta:
    """The wait after failed attempt number `attempt` (from 1): it doubles each time, up to `max_s`.

    `chance`, uniform in [0, 1), spreads the wait over its upper half ("equal jitter"): rows that
    failed together do not come back together.
    """
    doubled = base_s * 2.0 ** min(max(attempt, 1) - 1, 60)
    return timedelta(seconds=min(doubled, max_s) * (0.5 + chance / 2))


def judge(row: Expired, now: datetime, chance: float) -> Verdict:
    """Whether a row whose lease has expired gets another attempt, and when at the earliest.

    Attempts that do not count: those before an operator's retry; those whose spawn got no answer
    and that no worker began (an outage must not fail rows); those that a worker was told to stop;
    and those that were lost with a worker, which may have died by another row of it. But a step
    that allows one attempt is not called twice. A row that was asked to wait: see `wait_as_asked`;
    one whose call may have been charged: see `may_be_charged`.
    `available_at` may have a worker's Retry-After: there is no attempt before it. `chance`: see
    `backoff`.
    """
    kind, error = why_ended(row)
    if may_be_charged(row, now):
        text = f"{MAY_BE_CHARGED}: {error}" if error else MAY_BE_CHARGED
        return Verdict(None, text, ErrorKind.MAY_BE_CHARGED)
    if kind == ErrorKind.RETRY_AFTER:
        return wait_as_asked(row, now, chance)
    attempt, queued = row.attempt - row.forgiven, row.status is Status.QUEUED
    forgiven = kind == ErrorKind.SPAWN_UNKNOWN if queued else kind in NOT_ITS_FAULT
    once = row.max_attempts == 1 and not queued
    lost = kind in (ErrorKind.WORKER_SILENT, ErrorKind.SHARED_WORKER)
    if attempt >= row.max_attempts and (once or not forgiven):
        return Verdict(None, error, kind, lost=lost)
    at_once = forgiven and not queued
    wait = backoff(attempt, row.backoff_s, row.backoff_max_s, chance)
    available = now if at_once else now + wait
    return Verdict(max(available, row.available_at), error, kind, forgiven, lost)


def may_be_charged(row: Expired, now: datetime) -> bool:
    """Whether the attempt has sent a call that cannot be repeated: it might be paid for twice."""
    if row.sent_at is None or row.recall in (Recall.LOOKUP, Recall.AGAIN):
        return False
    known_for = timedelta(seconds=row.key_ttl_s if row.recall == Recall.KEY else 0)
    return now >= row.sent_at + known_for


def wait_as_asked(row: Expired, now: datetime, chance: float) -> Verdict:
    """The verdict on a row whose step was asked to wait: that costs no attempt.

    The row has FAILED if it would wait for longer than `give_up_after_s`, counted from the first of
    the attempts in a row that were asked to.
    """
    kind, attempt = ErrorKind.RETRY_AFTER, max(1, row.attempt - row.forgiven)
    soonest = now + backoff(attempt, row.backoff_s, row.backoff_max_s, chance)
    available = max(soonest, row.available_at)
    if available - (row.waits_since or now) > timedelta(seconds=row.give_up_after_s):
        gives_up = f"asked to wait for longer than {row.give_up_after_s:g} s (give_up_after_s)"
        return Verdict(None, gives_up, kind)
    return Verdict(available, None, kind, forgiven=True, waits=True)


def why_ended(row: Expired) -> tuple[str, str | None]:
    """The kind and the text of what has ended an attempt; None for a text that the row has."""
    if row.error_kind:
        return row.error_kind, None
    if row.status is Status.QUEUED:
        return ErrorKind.NOT_BEGUN, NOT_BEGUN
    if row.losses < len(GROUP_SIZES):
        return ErrorKind.SHARED_WORKER, DIED_SHARED
    return ErrorKind.WORKER_SILENT, DIED_ALONE


def throttle(
    chunk: Chunk, taken: int, faults: Sequence[str], now: datetime, chance: float
) -> Throttle | None:
    """The throttle of the chunk's step after a dispatch; None if the step is not throttled.

    `taken` rows were spawned; `faults` says why others were not. If there are faults, the step then
    claims as many rows a tick as were taken, and at least one call. If none were taken, it first
    waits for a backoff that grows with each refusal. When all rows are taken again, its allowance
    doubles with each tick (TCP's slow start). `chance`: see `backoff`.
    """
    if faults:
        refusals = 0 if taken else chunk.refusals + 1
        longest = min(chunk.backoff_max_s, HOLD_MAX_S)
        hold = timedelta() if taken else backoff(refusals, chunk.backoff_s, longest, chance)
        allowance = max(taken, chunk.chunk_size)
        return Throttle(chunk.step_name, now + hold, allowance, refusals, faults[-1])
    if chunk.allowance is None:
        return None
    doubled = 2 * chunk.allowance
    return Throttle(chunk.step_name, now, doubled if doubled < LIMIT else None, 0, "")
