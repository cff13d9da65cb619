"""A row says which local worker host has it, so that rows of a host that died are given back.

Revision: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflow_states", sa.Column("holder", sa.Text(collation="C"), nullable=True))


def downgrade() -> None:
    op.drop_column("workflow_states", "holder")
