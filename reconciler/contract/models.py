"""The tables of the contract, as SQLModel sees them; the revisions are checked against these.

Rows are moved by the statements in `queries`: these classes describe, they do not write.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from reconciler.contract.states import IN_FLIGHT, TERMINAL, BatchStatus, Status

# Named by a convention, so that a revision can name what it drops on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SCHEMA_REVISION = "0002"  # what this code reads and writes; a test holds it at Alembic's head


def _listed(statuses: tuple[Status | BatchStatus, ...]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


_FLYING, _ENDED = (f"status IN ({_listed(some)})" for some in (IN_FLIGHT, TERMINAL))
_RECALLABLE = "status = 'CANCELLED' AND call_id IS NOT NULL AND NOT recalled"


def _partial(name: str, where: str, *columns: str, **options: Any) -> Index:
    return Index(name, *columns, postgresql_where=text(where), **options)


def _code() -> Any:
    """Text that holds a code word: compared byte by byte, since a locale's rules are slower."""
    return Text(collation="C")


def _now(**options: Any) -> Any:
    return Field(
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
        **options,
    )


def _moment() -> Any:
    return Field(default=None, sa_type=DateTime(timezone=True))


def _default(value: str, **options: Any) -> Any:
    return Field(sa_column_kwargs={"server_default": text(value)}, **options)


class ContractTable(SQLModel):
    """Base of the contract's tables; its metadata is what Alembic's env.py compares."""

    metadata = MetaData(naming_convention=NAMING)


class Batch(ContractTable, table=True):
    """A run of a blueprint over companies; the blueprint is the one it was seeded with."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(f"status IN ({_listed(tuple(BatchStatus))})", name="status"),
        CheckConstraint("jsonb_typeof(blueprint) = 'array'", name="blueprint_array"),
        CheckConstraint("(finished_at IS NULL) = (status = 'RUNNING')", name="finished_iff_ended"),
    )

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    blueprint: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    columns: list[str] = Field(  # of its input file, in their order
        sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    status: str = _default("'RUNNING'", sa_type=_code())
    priority: int = _default("0")  # the higher goes first
    paused: bool = _default("false")
    created_at: datetime = _now()
    finished_at: datetime | None = _moment()


class Company(ContractTable, table=True):
    """A company, once for all batches; `attributes` keeps every column of its input files."""

    __tablename__ = "companies"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    key: str = Field(unique=True, sa_type=_code())
    name: str | None = None
    domain: str | None = None
    attributes: dict[str, Any] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    created_at: datetime = _now()


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
    `recalled` that it has cancelled the call of this CANCELLED one.
    """

    __tablename__ = "workflow_states"
    __table_args__ = (
        CheckConstraint(f"status IN ({_listed(tuple(Status))})", name="status"),
        CheckConstraint(
            f"(lease_expires_at IS NOT NULL) = ({_FLYING})", name="lease_iff_in_flight"
        ),
        CheckConstraint(f"(finished_at IS NOT NULL) = ({_ENDED})", name="finished_iff_terminal"),
        CheckConstraint("NOT advanced OR status = 'COMPLETED'", name="advanced_only_completed"),
        CheckConstraint("attempt >= 0 AND position >= 0", name="counts_from_zero"),
        # One index per thing that a tick looks for. Indexes on status alone more than halve the
        # lifecycle's throughput (4,900 against 11,300 company-steps a second), and without the
        # claim's order in the first one a claim of 1,000 takes 480 ms and more instead of 26.
        _partial(
            *("ix_workflow_states_pending", "status = 'PENDING'"),
            *("batch_id", "step_name", "available_at", "company_id"),
        ),
        _partial(
            *("ix_workflow_states_lease", _FLYING, "lease_expires_at"),
            postgresql_include=["step_name", "batch_id"],
        ),
        _partial(
            *("ix_workflow_states_completed", "status = 'COMPLETED' AND NOT advanced"),
            *("batch_id", "company_id"),
        ),
        _partial("ix_workflow_states_recall", _RECALLABLE, "call_id"),
        _partial(
            *("uq_workflow_states_one_in_flight", _FLYING, "company_id", "step_name"), unique=True
        ),
    )

    company_id: int = Field(
        primary_key=True, foreign_key="companies.id", ondelete="CASCADE", sa_type=BigInteger
    )
    step_name: str = Field(primary_key=True, sa_type=_code())
    batch_id: int = Field(primary_key=True, foreign_key="batches.id", ondelete="CASCADE")
    position: int  # of the step in the batch's blueprint, from 0
    status: str = _default("'PENDING'", sa_type=_code())
    attempt: int = _default("0")
    available_at: datetime = _now()
    lease_expires_at: datetime | None = _moment()
    call_id: str | None = None
    error: str | None = None
    advanced: bool = _default("false")
    recalled: bool = _default("false")
    created_at: datetime = _now()
    queued_at: datetime | None = _moment()
    started_at: datetime | None = _moment()
    finished_at: datetime | None = _moment()


class StepSettings(ContractTable, table=True):
    """A step: where its function is and how its rows are treated; editable while running."""

    __tablename__ = "enrichment_registry"
    __table_args__ = (
        CheckConstraint("max_attempts BETWEEN 1 AND 1000", name="max_attempts"),
        CheckConstraint("lease_s > 0 AND start_deadline_s > 0", name="leases"),
        CheckConstraint("backoff_s >= 0 AND backoff_max_s >= backoff_s", name="backoff"),
        CheckConstraint("max_in_flight >= 0", name="max_in_flight"),
        CheckConstraint("chunk_size BETWEEN 1 AND 100000", name="chunk_size"),
    )

    step_name: str = Field(primary_key=True, sa_type=_code())
    app_name: str  # of the deployed Modal app
    function_name: str  # in that app
    max_attempts: int = _default("5")
    lease_s: float = _default("60")  # a running attempt's, renewed by heartbeats
    start_deadline_s: float = _default("300")  # from claim to begin
    backoff_s: float = _default("5")  # before the second attempt; doubles with each further one
    backoff_max_s: float = _default("600")
    max_in_flight: int = _default("1000")
    chunk_size: int = _default("100")  # companies per spawned call
    enabled: bool = _default("true")


class Throttle(ContractTable, table=True):
    """A step whose last dispatches were not all taken: until when, and how much, it may claim.

    Gone once a dispatch of a full claim is taken again.
    """

    __tablename__ = "throttles"
    __table_args__ = (CheckConstraint("allowance > 0 AND refusals >= 0", name="counts_from_zero"),)

    step_name: str = Field(primary_key=True, sa_type=_code())
    held_until: datetime = Field(sa_type=DateTime(timezone=True))
    allowance: int  # rows that its next claim may take
    refusals: int  # dispatches in a row of which nothing was taken
    reason: str  # of the last one


class Polling(ContractTable, table=True):
    """The one row that every tick reads: how often to tick, and which loop may."""

    __tablename__ = "polling"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        CheckConstraint("poll_s > 0 AND idle_s >= poll_s AND every_s > 0", name="intervals"),
    )

    id: int = _default("1", primary_key=True)
    poll_s: float = _default("1")  # between ticks while there is work
    idle_s: float = _default("10")  # between ticks while there is none
    every_s: float = _default("120")  # Prefect's schedule: the window of one loop
    latency_target_s: float = _default("2")
    paused: bool = _default("false")
    generation: int = _default("0")  # of the newest loop; an older one leaves
    changed_at: datetime = _now()
    ticked_at: datetime | None = _moment()


class Tick(ContractTable, table=True):
    """What one tick did and cost; ticks that did nothing are not kept."""

    __tablename__ = "ticks"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: datetime = _now(index=True)
    duration_ms: float
    retried: int
    buried: int
    advanced: int
    claimed: int
    spawned: int
    released: int
    unknown: int
    finished: int
