"""Rows that a tick has claimed or judges, and the parallel arrays by which statements name them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from reconciler.contract.states import Status

# Rows per verb and tick: 10,000 give 11,300 company-steps a second, 1,000 give 7,900. A limit keeps
# each transaction short. After a tick that reaches it, the next one follows at once.
LIMIT = 10_000


# A row that was in the hands of a worker which died goes out again in a call of so many rows at
# most, which its worker works alone: by the first size after one loss, by the next after another.
# So of 500 rows that die together the one that kills is found after three more deaths, and nine of
# ten others are worked once more at most.
GROUP_SIZES = (100, 10, 1)


@dataclass(frozen=True)
class Room:
    """What workers can take now; `closed`: nothing, since there are none.

    `rows`: at most so many companies, by step; a step that is not named has no limit. `holder`
    names the worker host that takes them; the names of all hosts of its place begin with `family`.
    Those that are not in `alive` are gone, and hold nothing any more; nor do the processes of this
    host that are in `gone`. The name of a process is that of its host, a dot and a number.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    holder: str | None = None
    family: str | None = None
    alive: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    closed: bool = False


NO_LIMIT = Room()
CLOSED = Room(closed=True)


@dataclass(frozen=True)
class Chunk:
    """Claimed rows of one step, for one call; the three lists are parallel.

    `max_waiting` is how many calls may wait on Modal: as many full calls as max_in_flight allows,
    or `FEW_CALLS` if that is more. `has_orders`: each row gets an order, since the step has a
    `provider`, a `price` or answers that are used again. `allowance` and `refusals` are the step's
    `Throttle`; None and 0 if the step has none. `clients`: whose the batches are, by their ids as
    texts; of a step whose rows get orders. `priorities`: the batches', where the provider has
    limits. One call to the provider is for `bulk` companies, None for one.
    """

    step_name: str
    app_name: str
    function_name: str
    chunk_size: int
    backoff_s: float
    backoff_max_s: float
    max_waiting: int
    provider: str | None
    price: Decimal
    has_orders: bool
    allowance: int | None
    refusals: int
    company_ids: list[int]
    batch_ids: list[int]
    attempts: list[int]
    clients: dict[str, str] | None = None
    priorities: dict[str, int] | None = None
    bulk: int | None = None


@dataclass(frozen=True)
class Throttle:
    """The throttle of a step: it claims nothing until `held_until`, then `allowance` rows a tick.

    `allowance` None: no longer throttled. `refusals`: the number of dispatches in a row that the
    workers took nothing of.
    """

    step_name: str
    held_until: datetime
    allowance: int | None
    refusals: int
    reason: str


@dataclass(frozen=True)
class Expired:
    """A row whose lease has expired, with its step's settings for retries.

    `error_kind` says whether the row has an error. The conductor may not read its text.
    `sent_at`: when the attempt has sent a call that may be charged, and has no answer yet.
    """

    company_id: int
    step_name: str
    batch_id: int
    attempt: int
    forgiven: int
    losses: int
    status: Status
    available_at: datetime
    error_kind: str | None
    max_attempts: int
    backoff_s: float
    backoff_max_s: float
    waits_since: datetime | None
    give_up_after_s: float
    recall: str
    key_ttl_s: float
    has_orders: bool
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """What becomes of an expired row: PENDING until `available_at`, or FAILED if that is None.

    A forgiven attempt does not count towards the step's `max_attempts`. `lost`: the worker that had
    it has died, so that it goes out in a smaller group: see `GROUP_SIZES`. `waits`: its
    step was asked to wait. `error` None: the row has a text, which stays. Where it has one, `error`
    comes before it.
    """

    available_at: datetime | None
    error: str | None
    error_kind: str
    forgiven: bool = False
    lost: bool = False
    waits: bool = False


def row_arrays(chunks: Sequence[Chunk]) -> dict[str, list[Any]]:
    """The rows of `chunks` as the parallel arrays of `sql.held`."""
    return {
        "company_ids": [i for c in chunks for i in c.company_ids],
        "steps": [c.step_name for c in chunks for _ in c.company_ids],
        "batch_ids": [i for c in chunks for i in c.batch_ids],
        "attempts": [i for c in chunks for i in c.attempts],
    }


def per_row(chunks: Sequence[Chunk], values: Sequence[Any]) -> list[Any]:
    """One value per row; `values` has one per chunk."""
    return [v for c, v in zip(chunks, values, strict=True) for _ in c.company_ids]


def expired_arrays(rows: Sequence[Expired]) -> dict[str, Any]:
    """The rows as the parallel arrays of `sql.held`."""
    return {
        "company_ids": [row.company_id for row in rows],
        "steps": [row.step_name for row in rows],
        "batch_ids": [row.batch_id for row in rows],
        "attempts": [row.attempt for row in rows],
    }


def verdict_arrays(rows: Sequence[Expired], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The parameters of REAP: the rows, and the verdict on each."""
    return {
        **expired_arrays(rows),
        "available": [verdict.available_at for verdict in verdicts],
        "errors": [verdict.error for verdict in verdicts],
        "kinds": [verdict.error_kind for verdict in verdicts],
        "forgiving": [verdict.forgiven for verdict in verdicts],
        "lost": [verdict.lost for verdict in verdicts],
        "waits": [verdict.waits for verdict in verdicts],
    }
