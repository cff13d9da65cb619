"""Columns get the names of the vocabulary: rows fail, and calls are cancelled.

Revision: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEX = ("ix_workflow_states_recall", "ix_workflow_states_cancelled_call")


def upgrade() -> None:
    op.alter_column("ticks", "buried", new_column_name="failed")
    op.alter_column("ticks", "recalled", new_column_name="calls_cancelled")
    op.alter_column("workflow_states", "recalled", new_column_name="call_cancelled")
    op.execute(f"ALTER INDEX {INDEX[0]} RENAME TO {INDEX[1]}")


def downgrade() -> None:
    op.execute(f"ALTER INDEX {INDEX[1]} RENAME TO {INDEX[0]}")
    op.alter_column("workflow_states", "call_cancelled", new_column_name="recalled")
    op.alter_column("ticks", "calls_cancelled", new_column_name="recalled")
    op.alter_column("ticks", "failed", new_column_name="buried")
