"""A log of progress, so that a batch's rows need not be counted; indexes for failed rows.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Existing batches begin with one entry per step: the rows that arrived and were advanced so far.
BACKFILL = """
INSERT INTO progress (batch_id, position, at, arrived, completed)
SELECT batch_id, position, now(), count(*), count(*) FILTER (WHERE advanced)
FROM workflow_states
GROUP BY batch_id, position
"""


def upgrade() -> None:
    op.create_table(
        "progress",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("arrived", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_progress_batch_id_batches"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "position", "at", name=op.f("pk_progress")),
    )
    op.execute(BACKFILL)
    op.create_index(
        "ix_workflow_states_failed",
        "workflow_states",
        ["batch_id", "step_name"],
        postgresql_where=sa.text("status = 'FAILED'"),
    )
    op.create_index(
        "ix_workflow_states_error",
        "workflow_states",
        ["batch_id", "step_name"],
        postgresql_where=sa.text("error IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_workflow_states_error", "workflow_states")
    op.drop_index("ix_workflow_states_failed", "workflow_states")
    op.drop_table("progress")
