"""Failed attempts are kept; a retry forgives them; checks refuse values that would fail a tick.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


# Postgres cannot make an interval of any number of seconds: the statement would fail in every tick.
# NaN is above every number in Postgres, so an upper bound refuses it too.
YEAR_S = 31_536_000
BOUNDED = {
    ("enrichment_registry", "leases"): (
        "lease_s > 0 AND start_deadline_s > 0",
        f"lease_s > 0 AND lease_s <= {YEAR_S} "
        f"AND start_deadline_s > 0 AND start_deadline_s <= {YEAR_S}",
    ),
    ("enrichment_registry", "backoff"): (
        "backoff_s >= 0 AND backoff_max_s >= backoff_s",
        f"backoff_s >= 0 AND backoff_max_s >= backoff_s AND backoff_max_s <= {YEAR_S}",
    ),
    ("polling", "intervals"): (
        "poll_s > 0 AND idle_s >= poll_s AND every_s > 0",
        f"poll_s > 0 AND idle_s >= poll_s AND idle_s <= {YEAR_S} "
        f"AND every_s > 0 AND every_s <= {YEAR_S}",
    ),
}
# A blueprint is a list of different names. Postgres refuses any other, for edits by hand: steps
# after a gap or a repetition would silently not run.
IS_BLUEPRINT = """
CREATE FUNCTION is_blueprint(jsonb) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT jsonb_typeof($1) = 'array'
        AND (SELECT count(*) > 0 AND count(*) = count(DISTINCT step)
                AND bool_and(jsonb_typeof(step) = 'string' AND step <> '""')
             FROM jsonb_array_elements(
                 CASE jsonb_typeof($1) WHEN 'array' THEN $1 ELSE '[]' END) AS step)
$$
"""


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("step_name", sa.Text(collation="C"), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("call_id", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "step_name", "batch_id"],
            [
                "workflow_states.company_id",
                "workflow_states.step_name",
                "workflow_states.batch_id",
            ],
            name=op.f("fk_attempts_company_id_step_name_batch_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "company_id", "step_name", "batch_id", "attempt", name=op.f("pk_attempts")
        ),
    )
    op.add_column(
        "workflow_states",
        sa.Column("forgiven", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_workflow_states_forgiven"), "workflow_states", "forgiven BETWEEN 0 AND attempt"
    )
    op.add_column(
        "ticks", sa.Column("recalled", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    for (table, name), (_, bounded) in BOUNDED.items():
        replace_check(table, name, bounded)
    op.execute(IS_BLUEPRINT)
    op.drop_constraint(op.f("ck_batches_blueprint_array"), "batches")
    op.create_check_constraint(op.f("ck_batches_blueprint"), "batches", "is_blueprint(blueprint)")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_batches_blueprint"), "batches")
    op.create_check_constraint(
        op.f("ck_batches_blueprint_array"), "batches", "jsonb_typeof(blueprint) = 'array'"
    )
    op.execute("DROP FUNCTION is_blueprint(jsonb)")
    for (table, name), (before, _) in BOUNDED.items():
        replace_check(table, name, before)
    op.drop_column("ticks", "recalled")
    op.drop_constraint(op.f("ck_workflow_states_forgiven"), "workflow_states")
    op.drop_column("workflow_states", "forgiven")
    op.drop_table("attempts")


def replace_check(table: str, name: str, condition: str) -> None:
    """Replace the condition of a check constraint."""
    constraint = op.f(f"ck_{table}_{name}")
    op.drop_constraint(constraint, table)
    op.create_check_constraint(constraint, table, condition)
