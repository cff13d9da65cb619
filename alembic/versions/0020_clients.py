"""Batches and orders name the client that they are for: a cap may limit all that one costs.

Revision: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# No `/`: scopes that end in `/day` or `/month` are periods of providers.
NAME = "client ~ '^[a-z0-9][a-z0-9._-]{0,62}$'"


def upgrade() -> None:
    for table in ("batches", "orders"):
        op.add_column(table, sa.Column("client", sa.Text(collation="C"), nullable=True))
    op.create_check_constraint(op.f("ck_batches_client"), "batches", NAME)


def downgrade() -> None:
    op.drop_column("orders", "client")
    op.drop_constraint(op.f("ck_batches_client"), "batches")
    op.drop_column("batches", "client")
    op.execute("DELETE FROM caps WHERE scope LIKE 'client:%'")
