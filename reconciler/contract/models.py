"""The contract's tables as SQLModel classes; a test compares the revisions with them.

The classes only describe the tables; the statements in `contract/sql/` read and write rows.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from reconciler.contract.caps import CLIENT_NAME
from reconciler.contract.column_types import (
    ERROR_BYTES,
    ContractTable,
    code,
    default,
    listed,
    moment,
    now,
    partial,
)
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.sql.conditions import AT_FAULT, GOES_ON, TO_ADVANCE
from reconciler.contract.states import IN_FLIGHT, TERMINAL, BatchStatus, Status

MEMBER = ["batch_id", "company_id"]  # of batch_companies
_ERROR_CHECKS = (
    ("error_kind", f"error_kind IN ({listed(ErrorKind)})"),
    ("kind_iff_error", "(error_kind IS NULL) = (error IS NULL)"),
)
# A worker's role may write these. psycopg cannot read `infinity`, so one such time would end every
# tick of every batch.
_FIRST, _LAST = "'0001-01-02 00:00:00+00'", "'9999-01-01 00:00:00+00'"
ROW_KEY = ["company_id", "step_name", "batch_id"]  # of workflow_states
_IN_FLIGHT, _TERMINAL = (f"status IN ({listed(some)})" for some in (IN_FLIGHT, TERMINAL))
_TIMES = ("queued_at", "started_at")
_LONGEST = {"error": ERROR_BYTES, "call_id": 1000, "holder": 1000}  # bytes


def _bounds(times: Sequence[str], texts: Sequence[str]) -> Iterator[CheckConstraint]:
    """Checks that these times are finite, and these texts short."""
    finite = " AND ".join(f"{time} BETWEEN {_FIRST} AND {_LAST}" for time in times)
    yield CheckConstraint(finite, name="finite")
    short = " AND ".join(f"octet_length({text}) <= {_LONGEST[text]}" for text in texts)
    yield CheckConstraint(short, name="short")


def _part_of_blueprint(part: str, *, nullable: bool) -> Column[Any]:
    made = Computed(f"blueprint_part(blueprint, '{part}')", persisted=True)
    return Column(JSONB, made, nullable=nullable)


_CALLS_TO_CANCEL = "status = 'CANCELLED' AND call_id IS NOT NULL AND NOT call_cancelled"


class Batch(ContractTable, table=True):
    """A run of a blueprint over companies; `blueprint` is a copy made at seeding.

    Postgres makes two columns of it. `steps` are its steps, by their places. `past` has, for each
    member of a waterfall, the place at which a company goes on that it has found; null for other
    places, and where there is no waterfall.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(f"status IN ({listed(BatchStatus)})", name="status"),
        CheckConstraint("jsonb_typeof(blueprint) = 'array'", name="blueprint"),
        CheckConstraint("is_blueprint(steps)", name="steps"),  # a list of different names
        CheckConstraint("(finished_at IS NULL) = (status = 'RUNNING')", name="finished_iff_ended"),
        CheckConstraint(f"client ~ '{CLIENT_NAME}'", name="client"),
        CheckConstraint("unapproved >= 0", name="unapproved"),
    )

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    blueprint: list[Any] = Field(sa_column=Column(JSONB, nullable=False))
    steps: list[str] = Field(sa_column=_part_of_blueprint("steps", nullable=False))
    past: list[int | None] | None = Field(sa_column=_part_of_blueprint("past", nullable=True))
    columns: list[str] = Field(  # of the input file, in the file's order
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    status: str = default("'RUNNING'", sa_type=code())
    priority: int = default("0")  # higher ones are claimed first
    paused: bool = default("false")
    buy: list[str] = Field(  # steps that buy anew, though a fresh answer is there
        sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'"))
    )
    client: str | None = Field(default=None, sa_type=code())  # whose cap its orders count against
    unapproved: int = default("0")  # companies beyond its sample, which have no row yet
    created_at: datetime = now()
    finished_at: datetime | None = moment()


class Company(ContractTable, table=True):
    """A company, once for all batches; `attributes` keeps all columns of its input files."""

    __tablename__ = "companies"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    key: str = Field(unique=True, sa_type=code())
    name: str | None = None
    domain: str | None = None
    attributes: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    created_at: datetime = now()
    changed_at: datetime | None = moment()  # when a later file last changed it


class BatchCompany(ContractTable, table=True):
    """Membership: the company is in the batch, with the row that the batch's file has for it.

    All three columns are null where `companies` has that row as it is: nearly everywhere. Before a
    seeding changes a company, it writes the row as it was into the batches that rely on it.
    """

    __tablename__ = "batch_companies"
    __table_args__ = (
        CheckConstraint(
            "attributes IS NOT NULL OR (name IS NULL AND domain IS NULL)", name="own_row"
        ),
    )

    batch_id: int = Field(primary_key=True, foreign_key="batches.id", ondelete="CASCADE")
    company_id: int = Field(
        primary_key=True, foreign_key="companies.id", ondelete="CASCADE", sa_type=BigInteger
    )
    name: str | None = None
    domain: str | None = None
    attributes: dict[str, Any] | None = Field(sa_column=Column(JSONB, nullable=True))


class WorkflowState(ContractTable, table=True):
    """One step of one company in one batch: the contract between conductor and workers.

    `attempt` counts claims, and fences every later write. `forgiven`: how many of the attempts do
    not count towards the step's max_attempts, such as those before an operator's retry. `losses`:
    how many workers have died that had the row in hand (see `claimed.GROUP_SIZES`).
    `available_at`: the earliest time of the next claim. `waits_since`: since when each attempt was
    asked to wait (RetryAfter). `in_waterfall`: others are asked after it, also if it has FAILED.
    `advanced`: the tick has seeded the next step of this row, which has one of the ADVANCING
    statuses, or has FAILED in a waterfall. `call_cancelled`: the tick has cancelled the call of
    this CANCELLED row.
    """

    __tablename__ = "workflow_states"
    __table_args__ = (
        # One foreign key, to the membership. Two, to the batch and to the company, took 40 % of an
        # advance's time.
        ForeignKeyConstraint(
            MEMBER, [f"batch_companies.{name}" for name in MEMBER], ondelete="CASCADE"
        ),
        CheckConstraint(f"status IN ({listed(Status)})", name="status"),
        CheckConstraint(
            f"(lease_expires_at IS NOT NULL) = ({_IN_FLIGHT})", name="lease_iff_in_flight"
        ),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({_TERMINAL})", name="finished_iff_terminal"),
        CheckConstraint(f"NOT advanced OR {GOES_ON}", name="advanced_only_advancing"),
        CheckConstraint("attempt >= 0 AND position >= 0", name="counts_from_zero"),
        CheckConstraint("forgiven BETWEEN 0 AND attempt", name="forgiven"),
        *(CheckConstraint(condition, name=name) for name, condition in _ERROR_CHECKS),
        *_bounds(
            ("available_at", "lease_expires_at", "created_at", *_TIMES, "finished_at"),
            ("error", "call_id", "holder"),
        ),
        # One index per search of a tick. Indexes on status alone more than halve the throughput
        # (4,900 against 11,300 company-steps a second). Without the claim's order in the first
        # index, a claim of 1,000 takes 480 ms and more instead of 26.
        # Two indexes have the rows in flight: by lease, and by company and step. Their conditions
        # mean the same, and differ on purpose. With statistics from before a batch began, both
        # indexes look empty. With one condition, the planner might then read all leases to find one
        # row by its key.
        partial(
            *("ix_workflow_states_pending", "status = 'PENDING'"),
            *("batch_id", "step_name", "available_at", "company_id"),
        ),
        partial(
            *("ix_workflow_states_lease", "lease_expires_at IS NOT NULL", "lease_expires_at"),
            postgresql_include=["step_name", "batch_id"],
        ),
        partial("ix_workflow_states_to_advance", TO_ADVANCE, "batch_id", "company_id"),
        partial("ix_workflow_states_cancelled_call", _CALLS_TO_CANCEL, "call_id"),
        partial(
            *("ix_workflow_states_failed", "status = 'FAILED'"),
            *("batch_id", "step_name", "company_id"),
        ),
        partial("ix_workflow_states_error", AT_FAULT, "batch_id", "step_name"),
        partial(
            *("uq_workflow_states_one_in_flight", _IN_FLIGHT, "company_id", "step_name"),
            unique=True,
        ),
    )

    company_id: int = Field(primary_key=True, sa_type=BigInteger)
    step_name: str = Field(primary_key=True, sa_type=code())
    batch_id: int = Field(primary_key=True)
    position: int  # of the step in the batch's blueprint, from 0
    in_waterfall: bool = default("false")
    status: str = default("'PENDING'", sa_type=code())
    attempt: int = default("0")
    forgiven: int = default("0")
    losses: int = default("0")
    waits_since: datetime | None = moment()
    available_at: datetime = now()
    lease_expires_at: datetime | None = moment()
    call_id: str | None = None
    holder: str | None = Field(
        default=None, sa_type=code()
    )  # the local host, or process, that has it
    error: str | None = None
    error_kind: str | None = Field(default=None, sa_type=code())
    advanced: bool = default("false")
    call_cancelled: bool = default("false")
    reused: UUID | None = Field(default=None, sa_type=Uuid)  # the order that spares it a call
    created_at: datetime = now()
    queued_at: datetime | None = moment()
    started_at: datetime | None = moment()
    finished_at: datetime | None = moment()


class FailedAttempt(ContractTable, table=True):
    """An attempt that ended without a result, kept when its row went back to PENDING."""

    __tablename__ = "attempts"
    __table_args__ = (
        ForeignKeyConstraint(
            ROW_KEY, [f"workflow_states.{name}" for name in ROW_KEY], ondelete="CASCADE"
        ),
        *(CheckConstraint(condition, name=name) for name, condition in _ERROR_CHECKS),
        *_bounds((*_TIMES, "ended_at"), ("error", "call_id")),
    )

    company_id: int = Field(primary_key=True, sa_type=BigInteger)
    step_name: str = Field(primary_key=True, sa_type=code())
    batch_id: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    queued_at: datetime | None = moment()
    started_at: datetime | None = moment()
    ended_at: datetime = Field(sa_type=DateTime(timezone=True))
    call_id: str | None = None
    error: str | None = None
    error_kind: str | None = Field(default=None, sa_type=code())


class HistoryLine(ContractTable, table=True):
    """An operator's verb on a batch, and the number of its rows.

    For pause, resume and priority, these are the rows that were PENDING then.
    """

    __tablename__ = "history"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)  # in their order
    batch_id: int = Field(foreign_key="batches.id", ondelete="CASCADE", index=True)
    at: datetime = now()
    who: str  # the user of the operating system
    verb: str = Field(sa_type=code())
    detail: dict[str, Any] = Field(  # the verb's arguments
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    rows: int = default("0", sa_type=BigInteger)
