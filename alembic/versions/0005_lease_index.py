"""A row in flight is found by its key, and never by reading all leases.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create("lease_expires_at IS NOT NULL")


def downgrade() -> None:
    create("status IN ('QUEUED', 'IN_PROGRESS')")


def create(where: str) -> None:
    op.drop_index("ix_workflow_states_lease", "workflow_states")
    op.create_index(
        "ix_workflow_states_lease",
        "workflow_states",
        ["lease_expires_at"],
        postgresql_include=["step_name", "batch_id"],
        postgresql_where=sa.text(where),
    )
