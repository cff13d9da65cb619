"""Rows on their way through a tick, and the parallel arrays by which statements name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.contract.states import Status

# Rows per verb and tick. Chunks of 10,000 give 11,300 company-steps a second, of 1,000 7,900; and a
# bound keeps each transaction short. A tick that reaches it is followed by the next one at once.
LIMIT = 10_000


@dataclass(frozen=True)
class Chunk:
    """Claimed rows of one step, to be spawned as one call; the three lists run in parallel.

    `max_waiting` is how many full calls the step's whole capacity makes, or `FEW_CALLS`.
    `allowance` and `refusals` are of its throttle (see `Throttle`), None and 0 where it has none.
    """

    step_name: str
    app_name: str
    function_name: str
    chunk_size: int
    backoff_s: float
    backoff_max_s: float
    max_waiting: int
    allowance: int | None
    refusals: int
    company_ids: list[int]
    batch_ids: list[int]
    attempts: list[int]


@dataclass(frozen=True)
class Throttle:
    """How fast a step may claim: nothing until `held_until`, then `allowance` rows a tick.

    Without an allowance it is free again. `refusals` counts dispatches in a row of which
    nothing was taken.
    """

    step_name: str
    held_until: datetime
    allowance: int | None
    refusals: int
    reason: str


@dataclass(frozen=True)
class Expired:
    """A row whose lease has run out, with what its step's settings say about retries."""

    company_id: int
    step_name: str
    batch_id: int
    attempt: int
    forgiven: int
    status: Status
    available_at: datetime
    error: str | None
    error_kind: str | None
    max_attempts: int
    backoff_s: float
    backoff_max_s: float


@dataclass(frozen=True)
class Verdict:
    """What becomes of an expired row: claimable from `available_at`, or FAILED where it is None.

    A forgiven attempt does not count towards the step's `max_attempts`.
    """

    available_at: datetime | None
    error: str
    error_kind: str
    forgiven: bool = False


def row_arrays(chunks: Sequence[Chunk]) -> dict[str, list[Any]]:
    """The rows of `chunks` as the parallel arrays by which a statement names held rows."""
    return {
        "company_ids": [i for c in chunks for i in c.company_ids],
        "steps": [c.step_name for c in chunks for _ in c.company_ids],
        "batch_ids": [i for c in chunks for i in c.batch_ids],
        "attempts": [i for c in chunks for i in c.attempts],
    }


def spread(chunks: Sequence[Chunk], values: Sequence[Any]) -> list[Any]:
    """One value per row from one per chunk."""
    return [v for c, v in zip(chunks, values, strict=True) for _ in c.company_ids]


def judged(rows: Sequence[Expired], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What REAP is given: the rows by their key and attempt, and what becomes of each."""
    return {
        "company_ids": [row.company_id for row in rows],
        "steps": [row.step_name for row in rows],
        "batch_ids": [row.batch_id for row in rows],
        "attempts": [row.attempt for row in rows],
        "available": [verdict.available_at for verdict in verdicts],
        "errors": [verdict.error for verdict in verdicts],
        "kinds": [verdict.error_kind for verdict in verdicts],
        "forgiving": [verdict.forgiven for verdict in verdicts],
    }
