"""What was spent says for which client, so that it is known after the batch is deleted.

What is booked already gets the client of the batch of that name. Of a batch that is deleted, or of
none, the client stays unknown.

Revision: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

KEY = ["day", "batch", "step_name", "provider"]
SUMS = ("bought", "hits", "unknown", "reused", "charged")
FILL = (
    "UPDATE spend s SET client = b.client FROM batches b WHERE b.name = s.batch AND b.client <> ''"
)

# The rows of a day that differ in nothing but their client become one.
MERGE = f"""
WITH apart AS (DELETE FROM spend RETURNING *)
INSERT INTO spend ({", ".join(KEY)}, client, {", ".join(SUMS)})
SELECT {", ".join(KEY)}, '', {", ".join(f"sum({name})" for name in SUMS)}
FROM apart
GROUP BY {", ".join(KEY)}
"""


def upgrade() -> None:
    none = sa.text("''")
    column = sa.Column("client", sa.Text(collation="C"), server_default=none, nullable=False)
    op.add_column("spend", column)
    op.execute(FILL)
    op.drop_constraint(op.f("pk_spend"), "spend")
    op.create_primary_key(op.f("pk_spend"), "spend", [*KEY, "client"])


def downgrade() -> None:
    op.drop_constraint(op.f("pk_spend"), "spend")
    op.execute(MERGE)
    op.drop_column("spend", "client")
    op.create_primary_key(op.f("pk_spend"), "spend", KEY)
