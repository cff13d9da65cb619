"""The tables of the contract, as SQLModel sees them; the revisions are checked against these.

Rows are moved by the statements in `sql`: these classes describe, they do not write.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from reconciler.contract.column_types import (
    ContractTable,
    code,
    default,
    listed,
    moment,
    now,
    partial,
)
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.states import IN_FLIGHT, TERMINAL, BatchStatus, Status

MEMBER = ["batch_id", "company_id"]  # of batch_companies
_ERROR_CHECKS = (
    ("error_kind", f"error_kind IN ({listed(ErrorKind)})"),
    ("error_has_kind", "(error IS NULL) = (error_kind IS NULL)"),
)
ROW_KEY = ["company_id", "step_name", "batch_id"]  # of workflow_states
_FLYING, _ENDED = (f"status IN ({listed(some)})" for some in (IN_FLIGHT, TERMINAL))
_CALLS_TO_CANCEL = "status = 'CANCELLED' AND call_id IS NOT NULL AND NOT call_cancelled"


class Batch(ContractTable, table=True):
    """A run of a blueprint over companies; the blueprint is the one it was seeded with."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(f"status IN ({listed(BatchStatus)})", name="status"),
        CheckConstraint("is_blueprint(blueprint)", name="blueprint"),  # different names, in a list
        CheckConstraint("(finished_at IS NULL) = (status = 'RUNNING')", name="finished_iff_ended"),
    )

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    blueprint: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    columns: list[str] = Field(  # of its input file, in their order
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    status: str = default("'RUNNING'", sa_type=code())
    priority: int = default("0")  # the higher goes first
    paused: bool = default("false")
    created_at: datetime = now()
    finished_at: datetime | None = moment()


class Company(ContractTable, table=True):
    """A company, once for all batches; `attributes` keeps every column of its input files."""

    __tablename__ = "companies"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    key: str = Field(unique=True, sa_type=code())
    name: str | None = None
    domain: str | None = None
    attributes: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    created_at: datetime = now()


class BatchCompany(ContractTable, table=True):
    """Membership: the company goes through the batch."""

    __tablename__ = "batch_companies"

    batch_id: int = Field(primary_key=True, foreign_key="batches.id", ondelete="CASCADE")
    company_id: int = Field(
        primary_key=True, foreign_key="companies.id", ondelete="CASCADE", sa_type=BigInteger
    )


class WorkflowState(ContractTable, table=True):
    """One step of one company in one batch: the contract between conductor and workers.

    `attempt` counts claims and fences every later write. `available_at` is the earliest moment of
    the next claim. `advanced` says that the tick has seeded what follows this COMPLETED row, and
    `call_cancelled` that it has cancelled the call of this CANCELLED one. `forgiven` attempts came
    before an operator's retry, and count no more.
    """

    __tablename__ = "workflow_states"
    __table_args__ = (
        # One check for each row that an advance seeds, where one for the batch and one for the
        # company were 40 % of its time.
        ForeignKeyConstraint(
            MEMBER, [f"batch_companies.{name}" for name in MEMBER], ondelete="CASCADE"
        ),
        CheckConstraint(f"status IN ({listed(Status)})", name="status"),
        CheckConstraint(
            f"(lease_expires_at IS NOT NULL) = ({_FLYING})", name="lease_iff_in_flight"
        ),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({_ENDED})", name="finished_iff_terminal"),
        CheckConstraint("NOT advanced OR status = 'COMPLETED'", name="advanced_only_completed"),
        CheckConstraint("attempt >= 0 AND position >= 0", name="counts_from_zero"),
        CheckConstraint("forgiven BETWEEN 0 AND attempt", name="forgiven"),
        *(CheckConstraint(condition, name=name) for name, condition in _ERROR_CHECKS),
        # One index per thing that a tick looks for. Indexes on status alone more than halve the
        # lifecycle's throughput (4,900 against 11,300 company-steps a second), and without the
        # claim's order in the first one a claim of 1,000 takes 480 ms and more instead of 26.
        # Leases and keys of what is in flight have conditions that say the same in other words:
        # by statistics from before a batch began both are empty, and a statement that looks for one
        # row by its key would read all leases instead.
        partial(
            *("ix_workflow_states_pending", "status = 'PENDING'"),
            *("batch_id", "step_name", "available_at", "company_id"),
        ),
        partial(
            *("ix_workflow_states_lease", "lease_expires_at IS NOT NULL", "lease_expires_at"),
            postgresql_include=["step_name", "batch_id"],
        ),
        partial(
            *("ix_workflow_states_completed", "status = 'COMPLETED' AND NOT advanced"),
            *("batch_id", "company_id"),
        ),
        partial("ix_workflow_states_cancelled_call", _CALLS_TO_CANCEL, "call_id"),
        partial(
            *("ix_workflow_states_failed", "status = 'FAILED'"),
            *("batch_id", "step_name", "company_id"),
        ),
        partial("ix_workflow_states_error", "error IS NOT NULL", "batch_id", "step_name"),
        partial(
            *("uq_workflow_states_one_in_flight", _FLYING, "company_id", "step_name"), unique=True
        ),
    )

    company_id: int = Field(primary_key=True, sa_type=BigInteger)
    step_name: str = Field(primary_key=True, sa_type=code())
    batch_id: int = Field(primary_key=True)
    position: int  # of the step in the batch's blueprint, from 0
    status: str = default("'PENDING'", sa_type=code())
    attempt: int = default("0")
    forgiven: int = default("0")
    available_at: datetime = now()
    lease_expires_at: datetime | None = moment()
    call_id: str | None = None
    error: str | None = None
    error_kind: str | None = Field(default=None, sa_type=code())
    advanced: bool = default("false")
    call_cancelled: bool = default("false")
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
    """What an operator did to a batch, and how many rows it moved, held back or let go."""

    __tablename__ = "history"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)  # in their order
    batch_id: int = Field(foreign_key="batches.id", ondelete="CASCADE", index=True)
    at: datetime = now()
    who: str  # the user of the operating system
    verb: str = Field(sa_type=code())
    detail: dict[str, Any] = Field(  # what the verb was given
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    rows: int = default("0", sa_type=BigInteger)
