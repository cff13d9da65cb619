"""A table of throttled steps, and a flag for cancelled rows whose call is cancelled.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttles",
        sa.Column("step_name", sa.Text(collation="C"), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("allowance", sa.Integer(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.CheckConstraint(
            "allowance > 0 AND refusals >= 0", name=op.f("ck_throttles_counts_from_zero")
        ),
        sa.PrimaryKeyConstraint("step_name", name=op.f("pk_throttles")),
    )
    op.add_column(
        "workflow_states",
        sa.Column("recalled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "ix_workflow_states_recall",
        "workflow_states",
        ["call_id"],
        unique=False,
        postgresql_where=sa.text("status = 'CANCELLED' AND call_id IS NOT NULL AND NOT recalled"),
    )


def downgrade() -> None:
    op.drop_index("ix_workflow_states_recall", "workflow_states")
    op.drop_column("workflow_states", "recalled")
    op.drop_table("throttles")
