"""A batch keeps the row that its own file had for a company; another file does not rewrite it.

Revision: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MEMBERS = "batch_companies"
CHECK = "ck_batch_companies_own_row"


# Null for the batches that are there: what their files had before later ones is not known.
def upgrade() -> None:
    op.add_column(MEMBERS, sa.Column("name", sa.String(), nullable=True))
    op.add_column(MEMBERS, sa.Column("domain", sa.String(), nullable=True))
    op.add_column(MEMBERS, sa.Column("attributes", JSONB(astext_type=sa.Text()), nullable=True))
    whole = "attributes IS NOT NULL OR (name IS NULL AND domain IS NULL)"
    op.create_check_constraint(op.f(CHECK), MEMBERS, whole)


def downgrade() -> None:
    op.drop_constraint(op.f(CHECK), MEMBERS)
    for column in ("attributes", "domain", "name"):
        op.drop_column(MEMBERS, column)
