"""Every attempt that failed is kept, and an operator's retry forgives those before it.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("step_name", sa.Text(collation="C"), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "step_name", "batch_id"],
            [
                "workflow_states.company_id",
                "workflow_states.step_name",
                "workflow_states.batch_id",
            ],
            name=op.f("fk_attempts_company_id_step_name_batch_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "step_name", "batch_id", "attempt", name=op.f("pk_attempts")
        ),
    )
    op.add_column(
        "workflow_states",
        sa.Column("forgiven", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_workflow_states_forgiven"), "workflow_states", "forgiven BETWEEN 0 AND attempt"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_workflow_states_forgiven"), "workflow_states")
    op.drop_column("workflow_states", "forgiven")
    op.drop_table("attempts")
