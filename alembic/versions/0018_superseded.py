"""A result says where it is from, and what it takes the place of is kept; a view for psql and dbt.

Revision: 0018
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

RESULTS = "results"
KEPT = "superseded"
# Whatever is done to each domain table: a table of the schema with the columns of one. {change} is
# ALTER TABLE's. A table of another owner is left as it is.
EACH = """
DO $$
DECLARE named regclass;
BEGIN
    FOR named IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('results') AND c.relkind IN ('r', 'p')
          AND c.relname <> 'superseded' AND pg_has_role(c.relowner, 'USAGE')
          AND 2 = (SELECT count(*) FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND NOT a.attisdropped
                     AND a.attname IN ('company_id', 'written_at'))
    LOOP
        EXECUTE format('ALTER TABLE %s {change}', named);
    END LOOP;
END $$
"""
# The rows of all batches, for people and programs that read with SQL. A company is as its batch's
# file has it.
ROWS = """
CREATE VIEW tracer_rows AS
SELECT b.name AS batch, w.company_id, c.key,
    CASE WHEN m.attributes IS NULL THEN c.name ELSE m.name END AS name,
    CASE WHEN m.attributes IS NULL THEN c.domain ELSE m.domain END AS domain,
    w.step_name AS step, w.status, w.error_kind, w.finished_at
FROM workflow_states w
JOIN batches b ON b.id = w.batch_id
JOIN batch_companies m ON m.batch_id = w.batch_id AND m.company_id = w.company_id
JOIN companies c ON c.id = w.company_id
"""


# Null in the rows that are there: what wrote them is not known.
def upgrade() -> None:
    added = (
        "ADD COLUMN IF NOT EXISTS written_for integer, ADD COLUMN IF NOT EXISTS written_with text"
    )
    op.execute(EACH.format(change=added))
    op.create_table(
        KEPT,
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(collation="C"), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("result", JSONB(astext_type=sa.Text()), nullable=False),
        schema=RESULTS,
    )
    op.create_index("ix_superseded_company_id", KEPT, ["company_id"], schema=RESULTS)
    op.add_column(
        "enrichment_registry", sa.Column("version", sa.Text(collation="C"), nullable=True)
    )
    op.execute(ROWS)


def downgrade() -> None:
    op.execute("DROP VIEW tracer_rows")
    op.drop_column("enrichment_registry", "version")
    op.drop_table(KEPT, schema=RESULTS)
    op.execute(
        EACH.format(change="DROP COLUMN IF EXISTS written_for, DROP COLUMN IF EXISTS written_with")
    )
