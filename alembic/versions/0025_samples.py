"""A batch may begin with a sample: the rest of its companies waits for an approval.

Revision: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    none = sa.text("0")
    op.add_column(
        "batches", sa.Column("unapproved", sa.Integer(), server_default=none, nullable=False)
    )
    op.create_check_constraint(op.f("ck_batches_unapproved"), "batches", "unapproved >= 0")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_unapproved"), "batches")
    op.drop_column("batches", "unapproved")
