"""The contract: batches, companies, their states, the registry and the polling row.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("blueprint", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "columns",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        sa.Column(
            "status", sa.Text(collation="C"), server_default=sa.text("'RUNNING'"), nullable=False
        ),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (status = 'RUNNING')",
            name=op.f("ck_batches_finished_iff_ended"),
        ),
        sa.CheckConstraint(
            "jsonb_typeof(blueprint) = 'array'", name=op.f("ck_batches_blueprint_array")
        ),
        sa.CheckConstraint(
            "status IN ('RUNNING', 'FINISHED', 'CANCELLED')", name=op.f("ck_batches_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("name", name=op.f("uq_batches_name")),
    )
    op.create_table(
        "companies",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("domain", sa.String(), nullable=True),
        sa.Column(
            "attributes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_companies")),
        sa.UniqueConstraint("key", name=op.f("uq_companies_key")),
    )
    op.create_table(
        "enrichment_registry",
        sa.Column("step_name", sa.Text(collation="C"), nullable=False),
        sa.Column("app_name", sa.String(), nullable=False),
        sa.Column("function_name", sa.String(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("lease_s", sa.Float(), server_default=sa.text("60"), nullable=False),
        sa.Column("start_deadline_s", sa.Float(), server_default=sa.text("300"), nullable=False),
        sa.Column("backoff_s", sa.Float(), server_default=sa.text("5"), nullable=False),
        sa.Column("backoff_max_s", sa.Float(), server_default=sa.text("600"), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), server_default=sa.text("1000"), nullable=False),
        sa.Column("chunk_size", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint(
            "backoff_s >= 0 AND backoff_max_s >= backoff_s",
            name=op.f("ck_enrichment_registry_backoff"),
        ),
        sa.CheckConstraint(
            "chunk_size BETWEEN 1 AND 100000", name=op.f("ck_enrichment_registry_chunk_size")
        ),
        sa.CheckConstraint(
            "lease_s > 0 AND start_deadline_s > 0", name=op.f("ck_enrichment_registry_leases")
        ),
        sa.CheckConstraint(
            "max_attempts BETWEEN 1 AND 1000", name=op.f("ck_enrichment_registry_max_attempts")
        ),
        sa.CheckConstraint("max_in_flight >= 0", name=op.f("ck_enrichment_registry_max_in_flight")),
        sa.PrimaryKeyConstraint("step_name", name=op.f("pk_enrichment_registry")),
    )
    op.create_table(
        "polling",
        sa.Column("id", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("poll_s", sa.Float(), server_default=sa.text("1"), nullable=False),
        sa.Column("idle_s", sa.Float(), server_default=sa.text("10"), nullable=False),
        sa.Column("every_s", sa.Float(), server_default=sa.text("120"), nullable=False),
        sa.Column("latency_target_s", sa.Float(), server_default=sa.text("2"), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("ticked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_polling_one_row")),
        sa.CheckConstraint(
            "poll_s > 0 AND idle_s >= poll_s AND every_s > 0", name=op.f("ck_polling_intervals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_polling")),
    )
    op.create_table(
        "ticks",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("retried", sa.Integer(), nullable=False),
        sa.Column("buried", sa.Integer(), nullable=False),
        sa.Column("advanced", sa.Integer(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("spawned", sa.Integer(), nullable=False),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticks")),
    )
    op.create_index(op.f("ix_ticks_at"), "ticks", ["at"], unique=False)
    op.create_table(
        "batch_companies",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_batch_companies_batch_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["companies.id"],
            name=op.f("fk_batch_companies_company_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "company_id", name=op.f("pk_batch_companies")),
    )
    op.create_table(
        "workflow_states",
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("step_name", sa.Text(collation="C"), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(
            "status", sa.Text(collation="C"), server_default=sa.text("'PENDING'"), nullable=False
        ),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("advanced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('COMPLETED', 'FAILED', 'CANCELLED'))",
            name=op.f("ck_workflow_states_finished_iff_terminal"),
        ),
        sa.CheckConstraint(
            "(lease_expires_at IS NOT NULL) = (status IN ('QUEUED', 'IN_PROGRESS'))",
            name=op.f("ck_workflow_states_lease_iff_in_flight"),
        ),
        sa.CheckConstraint(
            "NOT advanced OR status = 'COMPLETED'",
            name=op.f("ck_workflow_states_advanced_only_completed"),
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'QUEUED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED')",
            name=op.f("ck_workflow_states_status"),
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND position >= 0", name=op.f("ck_workflow_states_counts_from_zero")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_workflow_states_batch_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["companies.id"],
            name=op.f("fk_workflow_states_company_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "step_name", "batch_id", name=op.f("pk_workflow_states")
        ),
    )
    op.create_index(
        "ix_workflow_states_completed",
        "workflow_states",
        ["batch_id", "company_id"],
        unique=False,
        postgresql_where=sa.text("status = 'COMPLETED' AND NOT advanced"),
    )
    op.create_index(
        "ix_workflow_states_lease",
        "workflow_states",
        ["lease_expires_at"],
        unique=False,
        postgresql_include=["step_name", "batch_id"],
        postgresql_where=sa.text("status IN ('QUEUED', 'IN_PROGRESS')"),
    )
    op.create_index(
        "ix_workflow_states_pending",
        "workflow_states",
        ["batch_id", "step_name", "available_at", "company_id"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING'"),
    )
    op.create_index(
        "uq_workflow_states_one_in_flight",
        "workflow_states",
        ["company_id", "step_name"],
        unique=True,
        postgresql_where=sa.text("status IN ('QUEUED', 'IN_PROGRESS')"),
    )
    op.execute("INSERT INTO polling DEFAULT VALUES")
    op.execute("CREATE SCHEMA results")


def downgrade() -> None:
    op.execute("DROP SCHEMA results CASCADE")
    for table in (
        "workflow_states",
        "batch_companies",
        "ticks",
        "polling",
        "enrichment_registry",
        "companies",
        "batches",
    ):
        op.drop_table(table)
