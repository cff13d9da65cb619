"""Pure decisions: retry or bury, and how long to wait. Nothing here reads a clock or a row."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.contract.states import Status
from reconciler.contract.store import LIMIT, Chunk, Expired, Pace, Verdict

NOT_BEGUN = "no worker began it before its start deadline"
HOLD_MAX_S = 60.0  # asking once a minute whether spawns are taken again costs one call
WENT_SILENT = "its worker stopped renewing the lease and is presumed dead"


def backoff(attempt: int, base_s: float, max_s: float, chance: float) -> timedelta:
    """The wait after failed attempt number `attempt` (from 1): it doubles each time, up to `max_s`.

    `chance`, uniform in [0, 1), spreads the wait over its upper half ("equal jitter"), so that rows
    which failed together do not come back together.
    """
    doubled = base_s * 2.0 ** min(max(attempt, 1) - 1, 60)
    return timedelta(seconds=min(doubled, max_s) * (0.5 + chance / 2))


def judge(row: Expired, now: datetime, chance: float) -> Verdict:
    """Whether a row whose lease has ended gets another attempt, and from when.

    Attempts that an operator's retry has forgiven do not count. A Retry-After that the worker left
    in `available_at` is a lower bound.
    """
    attempt = row.attempt - row.forgiven
    silent = NOT_BEGUN if row.status is Status.QUEUED else WENT_SILENT
    error = row.error or silent
    if attempt >= row.max_attempts:
        return Verdict(None, error)
    wait = backoff(attempt, row.backoff_s, row.backoff_max_s, chance)
    return Verdict(max(now + wait, row.available_at), error)


def pace(
    chunk: Chunk, taken: int, faults: Sequence[str], now: datetime, chance: float
) -> Pace | None:
    """How the step of `chunk` goes on after a dispatch; None where nothing slows it, or did.

    `taken` rows were spawned, and `faults` says why others were not. The step then claims no more
    than was taken, at least one call, and that after a backoff which grows while nothing is taken.
    Once all is taken again, what it may claim doubles with each tick, as TCP's slow start does.
    """
    if faults:
        refusals = 0 if taken else chunk.refusals + 1
        longest = min(chunk.backoff_max_s, HOLD_MAX_S)
        until = now + backoff(refusals, chunk.backoff_s, longest, chance)
        return Pace(chunk.step_name, until, max(taken, chunk.chunk_size), refusals, faults[-1])
    if chunk.allowance is None:
        return None
    binding = taken >= chunk.allowance and 2 * chunk.allowance < LIMIT
    return Pace(chunk.step_name, now, 2 * chunk.allowance if binding else None, 0, "")
