"""Pure decisions: retry or fail, and how long to wait. They read no clock and no database."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.contract.claimed import LIMIT, Chunk, Expired, Throttle, Verdict
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import Status

NOT_BEGUN = "no worker began it before its start deadline"
HOLD_MAX_S = 60.0  # the longest wait of a throttled step: one call a minute tries again
WENT_SILENT = "its worker stopped renewing the lease and is presumed dead"


def backoff(attempt: int, base_s: float, max_s: float, chance: float) -> timedelta:
    """The wait after failed attempt number `attempt` (from 1): it doubles each time, up to `max_s`.

    `chance`, uniform in [0, 1), spreads the wait over its upper half ("equal jitter"): rows that
    failed together do not come back together.
    """
    doubled = base_s * 2.0 ** min(max(attempt, 1) - 1, 60)
    return timedelta(seconds=min(doubled, max_s) * (0.5 + chance / 2))


def judge(row: Expired, now: datetime, chance: float) -> Verdict:
    """Whether a row whose lease has expired gets another attempt, and when at the earliest.

    Two kinds of attempts do not count: those before an operator's retry, and those whose spawn got
    no answer and that no worker began (an outage must not fail rows). `available_at` may have a
    worker's Retry-After: there is no attempt before it. `chance`: see `backoff`.
    """
    attempt, queued = row.attempt - row.forgiven, row.status is Status.QUEUED
    silent = ErrorKind.NOT_BEGUN if queued else ErrorKind.WORKER_SILENT
    error = row.error or (NOT_BEGUN if queued else WENT_SILENT)
    kind = row.error_kind or (ErrorKind.RAISED if row.error else silent)
    forgiven = queued and kind == ErrorKind.SPAWN_UNKNOWN
    if attempt >= row.max_attempts and not forgiven:
        return Verdict(None, error, kind)
    wait = backoff(attempt, row.backoff_s, row.backoff_max_s, chance)
    return Verdict(max(now + wait, row.available_at), error, kind, forgiven)


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
