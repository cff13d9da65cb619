"""The tables of money: providers, orders, caps, and what was spent; amounts are exact decimals.

What an amount counts, credits or cents, is the user's: it is the unit of a step's `price`.
"""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Numeric, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from reconciler.contract.column_types import ContractTable, code, default, moment, now, partial
from reconciler.contract.sql.conditions import LEFT_OPEN, LIVE, OPEN, TO_SETTLE, UNKNOWN

AMOUNT_LIMIT = 1_000_000_000


def amount(value: str = "0") -> Decimal:
    """A column of an amount that is 0 at first."""
    return default(value, sa_type=Numeric)  # type: ignore[no-any-return]


class Provider(ContractTable, table=True):
    """An outside API, which its steps share: its limits, and how far they are used.

    `keep_for_s`: how long its answers are kept. `windows` are a list of {limit, seconds}; null
    where no limit is known. `burst` calls may go out at once after a quiet time, `max_concurrent`
    be under way. Between two calls are `spacing_s`: those of the windows, or learned ones.

    `next_at`: when the next call may go out. `calls_left`: for how many the long windows have room,
    null before they were counted; none before `full_until`. Nothing is claimed before
    `paused_until`, which is infinity until somebody resumes it; `pause_kind`: see `PauseKind`.
    `failures`: pauses in a row after faults of its own; until one call has gone well, one is under
    way at a time. `learned_rate`: calls per second, since more were refused, at `ceiling`;
    `refusals` counts those times. `changed_at`: when the rate last changed.
    """

    __tablename__ = "providers"
    __table_args__ = (
        CheckConstraint("keep_for_s > 0 AND keep_for_s <= 315360000", name="keep_for"),
        CheckConstraint("burst >= 1 AND max_concurrent >= 1", name="bounds"),
        CheckConstraint("spacing_s > 0 AND spacing_s <= 31536000", name="spacing"),
        CheckConstraint("learned_rate > 0 AND ceiling > 0", name="rates"),
    )

    name: str = Field(primary_key=True, sa_type=code())
    keep_for_s: float | None = None  # None: for ever
    created_at: datetime = now()
    windows: list[dict[str, float]] | None = Field(default=None, sa_type=JSONB)
    burst: int = default("1")
    max_concurrent: int | None = None
    spacing_s: float | None = None
    next_at: datetime | None = moment()
    calls_left: int | None = None
    full_until: datetime | None = moment()
    paused_until: datetime | None = moment()
    pause_kind: str | None = Field(default=None, sa_type=code())
    paused_why: str | None = Field(default=None, sa_type=Text)
    failures: int = default("0")
    learned_rate: float | None = None
    ceiling: float | None = None
    refusals: int = default("0")
    refused_at: datetime | None = moment()
    changed_at: datetime | None = moment()


class ProviderCall(ContractTable, table=True):
    """When a call of a provider with long windows goes out: so many fill them."""

    __tablename__ = "provider_calls"

    provider: str = Field(primary_key=True, sa_type=code())
    at: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))


class Order(ContractTable, table=True):
    """One purchase: the right to pay once for one company's step.

    `batch_id` pays; null where a trial does. `client` is that of the batch, which may be deleted
    before the order is settled. The attempt `for_attempt` of the row of batch `for_batch` may call:
    no other, and none where it is null. `tries` calls were sent, and of `known` of them it is known
    what came: an answer, a refusal (429, 5xx), or that nobody was reached. `sent_at`: when the
    first of the others was sent, else the newest. `found`: the provider knew the company.
    `settled`: what caps and spend have booked of what it costs. `unknown_at`: since when nobody
    waits for the answer. `send_at`: when its next call may go out, null once it has, and where its
    provider has no limit. `void_at`: it was given back, and costs nothing. `superseded_at`: another
    one was wanted.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("price >= 0", name="price"),
        CheckConstraint(f"charged >= 0 AND charged < {AMOUNT_LIMIT}", name="charged"),
        CheckConstraint("answered_at IS NULL OR sent_at IS NOT NULL", name="answered_was_sent"),
        CheckConstraint("answered_at IS NULL OR charged IS NOT NULL", name="answered_is_charged"),
        # No foreign keys: an order outlives its batch, and each would cost 5 us a row.
        partial("uq_orders_open", OPEN, "company_id", "step_name", unique=True),
        partial("ix_orders_live", LIVE, "company_id", "step_name", "made_at"),
        partial("ix_orders_left_open", LEFT_OPEN, "made_at"),
        partial("ix_orders_to_settle", TO_SETTLE, "made_at"),
        partial("ix_orders_unknown", UNKNOWN, "unknown_at"),
        Index("ix_orders_made", "made_at", postgresql_using="brin"),
    )

    id: UUID | None = Field(
        default=None,
        primary_key=True,
        sa_type=Uuid,
        sa_column_kwargs={"server_default": text("gen_random_uuid()")},
    )
    company_id: int = Field(sa_type=BigInteger)
    step_name: str = Field(sa_type=code())
    batch_id: int | None = None
    client: str | None = Field(default=None, sa_type=code())
    provider: str | None = Field(default=None, sa_type=code())
    price: Decimal = Field(sa_type=Numeric)
    made_at: datetime = now()
    for_batch: int | None = None
    for_attempt: int | None = None
    send_at: datetime | None = moment()
    sent_at: datetime | None = moment()
    tries: int = default("0")
    known: int = default("0")
    answered_at: datetime | None = moment()
    found: bool | None = None
    charged: Decimal | None = Field(default=None, sa_type=Numeric)
    settled: Decimal | None = Field(default=None, sa_type=Numeric)
    settled_at: datetime | None = moment()
    unknown_at: datetime | None = moment()
    void_at: datetime | None = moment()
    superseded_at: datetime | None = moment()


class Cap(ContractTable, table=True):
    """What a scope may cost, and what of it is reserved and spent; `most` is null without a limit.

    Scopes: `all`, `batch:ID`, `client:NAME`, `provider:NAME/day`, `provider:NAME/month`. `since`:
    the first day of the period, in UTC; of a scope without periods it is `ALWAYS`. `beyond`: what
    providers charged above the orders' prices, which are meant to be upper bounds.
    """

    __tablename__ = "caps"
    __table_args__ = (
        CheckConstraint("reserved >= 0 AND spent >= 0 AND beyond >= 0", name="from_zero"),
        CheckConstraint("reserved + spent <= most", name="most"),
    )

    scope: str = Field(primary_key=True, sa_type=code())
    since: date = Field(primary_key=True)
    most: Decimal | None = Field(default=None, sa_type=Numeric)
    reserved: Decimal = amount()
    spent: Decimal = amount()
    beyond: Decimal = amount()


class Spend(ContractTable, table=True):
    """What was bought on one day (UTC) for a step of a batch; it outlives orders and batches.

    `bought` orders were paid or answered, `hits` of them by a provider that knew the company, and
    of `unknown` ones nobody knows. `reused` rows needed no call. `charged` counts unknown ones too.
    """

    __tablename__ = "spend"

    day: date = Field(primary_key=True)
    batch: str = Field(primary_key=True)  # its name, "" for trials
    step_name: str = Field(primary_key=True, sa_type=code())
    provider: str = Field(primary_key=True, sa_type=code())  # "" for none
    client: str = default("''", primary_key=True, sa_type=code())  # "" for none
    bought: int = default("0", sa_type=BigInteger)
    hits: int = default("0", sa_type=BigInteger)
    unknown: int = default("0", sa_type=BigInteger)
    reused: int = default("0", sa_type=BigInteger)
    charged: Decimal = amount()
