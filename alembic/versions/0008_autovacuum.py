"""Vacuum after 2 % of the rows are dead instead of 20 %, as the embedded Postgres does.

Every row leaves four dead versions. With Postgres's default, a table of ten million rows has two
million dead versions before the first vacuum. Each claim and advance must pass over those in its
index.

Revision: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workflow_states SET (autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    op.execute("ALTER TABLE workflow_states RESET (autovacuum_vacuum_scale_factor)")
