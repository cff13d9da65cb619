"""The tables of the loop: settings of steps, throttles, intervals, ticks, progress."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Numeric, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from reconciler.contract.column_types import (
    ERROR_CHARS,
    ContractTable,
    code,
    default,
    listed,
    moment,
    now,
)
from reconciler.contract.holds import HoldKind
from reconciler.contract.recall import Recall

# The upper bound of every duration. Postgres cannot make an interval of any number of seconds, nor
# of Infinity or NaN: the statement would fail in every tick. (NaN is above every number in
# Postgres, so the bound refuses it too.)
YEAR_S = 31_536_000


def seconds(column: str) -> str:
    """The SQL condition that `column` is a duration in seconds: above 0, and bounded."""
    return f"{column} > 0 AND {column} <= {YEAR_S}"


class StepSettings(ContractTable, table=True):
    """A step: where its function is, and the settings for its rows; may be edited at any time."""

    __tablename__ = "enrichment_registry"
    __table_args__ = (
        CheckConstraint("max_attempts BETWEEN 1 AND 1000", name="max_attempts"),
        CheckConstraint(f"{seconds('lease_s')} AND {seconds('start_deadline_s')}", name="leases"),
        CheckConstraint(
            f"backoff_s >= 0 AND backoff_max_s >= backoff_s AND backoff_max_s <= {YEAR_S}",
            name="backoff",
        ),
        CheckConstraint("max_in_flight >= 0", name="max_in_flight"),
        CheckConstraint("chunk_size BETWEEN 1 AND 100000", name="chunk_size"),
        CheckConstraint("hold_after >= 0", name="hold_after"),
        CheckConstraint(seconds("give_up_after_s"), name="give_up_after"),
        CheckConstraint("price >= 0 AND price < 1000000000", name="price"),
        CheckConstraint("fresh_for_s > 0 AND fresh_for_s <= 315360000", name="fresh_for"),
        CheckConstraint(seconds("key_ttl_s"), name="key_ttl"),
        CheckConstraint(f"recall IN ({listed(Recall)})", name="recall"),
    )

    step_name: str = Field(primary_key=True, sa_type=code())
    app_name: str  # of the deployed Modal app
    function_name: str  # in that app
    max_attempts: int = default("5")
    lease_s: float = default("60")  # of an attempt that has begun; heartbeats renew it
    start_deadline_s: float = default("300")  # from claim to begin
    backoff_s: float = default("5")  # before the second attempt; doubles with each failed one
    backoff_max_s: float = default("600")
    max_in_flight: int = default("1000")
    chunk_size: int = default("100")  # companies per call
    enabled: bool = default("true")
    hold_after: int = default("20")  # companies in a row that fail alike; 0: never
    give_up_after_s: float = default("86400")  # of being asked to wait, again and again
    needs: list[str] = Field(  # the steps that must come before it; from code
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    env: list[str] = Field(  # the environment variables that it cannot do without; from code
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    module: str | None = Field(default=None, sa_type=code())  # the file that it is in; from code
    version: str | None = Field(default=None, sa_type=code())  # of its code
    provider: str | None = Field(default=None, sa_type=code())  # from code, as all below
    price: Decimal = default("0", sa_type=Numeric)  # of one order, an upper bound
    fresh_for_s: float | None = None  # how long an answer is used again
    recall: str = default("'none'", sa_type=code())  # see `Recall`
    key_ttl_s: float = default("86400")  # how long the provider knows a key
    bulk: int | None = None  # companies of one call to its provider; None: one
    timeout_s: float = default("60")  # of one call of its function


CALLS = ("bulk", "timeout_s")
MONEY = ("provider", "price", "fresh_for_s", "recall", "key_ttl_s")
FROM_CODE = ("step_name", "needs", "env", "module", "version", *MONEY, *CALLS)
# What `@step` and `tracer steps set` may set.
SETTINGS = tuple(name for name in StepSettings.model_fields if name not in FROM_CODE)


class HeldStep(ContractTable, table=True):
    """A step of which nothing is claimed or begun, since it is at fault for every company.

    A worker writes it; an operator removes it, or `tracer steps sync`, once it is mended. A worker
    that can load the step again removes a hold of kind `import`.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint(f"kind IN ({listed(HoldKind)})", name="kind"),
        CheckConstraint(f"length(reason) <= {ERROR_CHARS}", name="reason"),
    )

    step_name: str = Field(
        primary_key=True,
        sa_type=code(),
        foreign_key="enrichment_registry.step_name",
        ondelete="CASCADE",
    )
    kind: str = Field(sa_type=code())
    reason: str
    held_at: datetime = now()


class Throttle(ContractTable, table=True):
    """The throttle of a step: it claims nothing until `held_until`, then `allowance` rows a tick.

    Without an allowance the step is not throttled.
    """

    __tablename__ = "throttles"
    __table_args__ = (CheckConstraint("allowance > 0 AND refusals >= 0", name="counts_from_zero"),)

    step_name: str = Field(primary_key=True, sa_type=code())
    held_until: datetime = Field(sa_type=DateTime(timezone=True))
    allowance: int | None = None  # rows that the next claim may take
    refusals: int  # number of dispatches in a row that the workers took nothing of
    reason: str  # of the last refusal


class Polling(ContractTable, table=True):
    """The one row that every tick reads: how often to tick, and which loop is the newest."""

    __tablename__ = "polling"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        CheckConstraint(
            f"poll_s > 0 AND idle_s >= poll_s AND idle_s <= {YEAR_S} AND {seconds('every_s')}",
            name="intervals",
        ),
    )

    id: int = default("1", primary_key=True)
    poll_s: float = default("1")  # between ticks while there is work
    idle_s: float = default("10")  # between ticks while there is none
    every_s: float = default("120")  # Prefect's schedule: seconds between the starts of two runs
    latency_target_s: float = default("2")
    paused: bool = default("false")
    generation: int = default("0")  # of the newest loop; an older one leaves
    changed_at: datetime = now()
    ticked_at: datetime | None = moment()


class Tick(ContractTable, table=True):
    """What one tick did, and how long it took; ticks that did nothing are not kept."""

    __tablename__ = "ticks"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: datetime = now(index=True)
    duration_ms: float
    retried: int
    failed: int
    advanced: int
    claimed: int
    spawned: int
    released: int
    unknown: int
    calls_cancelled: int = default("0")
    finished: int


class Progress(ContractTable, table=True):
    """How many rows arrived at a batch's step, and ended there to go on, at one moment."""

    __tablename__ = "progress"

    batch_id: int = Field(primary_key=True, foreign_key="batches.id", ondelete="CASCADE")
    position: int = Field(primary_key=True)  # of the step in the batch's blueprint, from 0
    at: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))
    arrived: int = default("0")
    completed: int = default("0")
    not_found: int = default("0")
    skipped: int = default("0")
