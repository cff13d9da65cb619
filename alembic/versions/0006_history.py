"""A history of operators' verbs; the index of failed rows is in the order of their key.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# For existing batches, the time of the seeding is known, and its operator is not.
BACKFILL = """
INSERT INTO history (batch_id, at, who, verb, detail, rows)
SELECT b.id, b.created_at, 'unknown', 'seed',
    jsonb_build_object('blueprint', b.blueprint, 'priority', b.priority),
    coalesce((SELECT sum(p.arrived) FROM progress p WHERE p.batch_id = b.id AND p.position = 0), 0)
FROM batches b
ORDER BY b.created_at, b.id
"""


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("verb", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("rows", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_history_batch_id_batches"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index("ix_history_batch_id", "history", ["batch_id"])
    op.execute(BACKFILL)
    index_failed("batch_id", "step_name", "company_id")


def downgrade() -> None:
    index_failed("batch_id", "step_name")
    op.drop_index("ix_history_batch_id", "history")
    op.drop_table("history")


def index_failed(*columns: str) -> None:
    op.drop_index("ix_workflow_states_failed", "workflow_states")
    op.create_index(
        "ix_workflow_states_failed",
        "workflow_states",
        columns,
        postgresql_where=sa.text("status = 'FAILED'"),
    )
