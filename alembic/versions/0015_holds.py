"""A step that is at fault for every company is held; being asked to wait costs no attempt.

Revision: 0015
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

REGISTRY = "enrichment_registry"
CHECKS = {
    "hold_after": "hold_after >= 0",
    "give_up_after": "give_up_after_s > 0 AND give_up_after_s <= 31536000",
}


def upgrade() -> None:
    for name, kind, value in (
        ("hold_after", sa.Integer(), "20"),
        ("give_up_after_s", sa.Float(), "86400"),
        ("env", ARRAY(sa.Text()), "'{}'"),
    ):
        column = sa.Column(name, kind, server_default=sa.text(value), nullable=False)
        op.add_column(REGISTRY, column)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{REGISTRY}_{name}"), REGISTRY, condition)
    moment = sa.DateTime(timezone=True)
    op.add_column("workflow_states", sa.Column("waits_since", moment, nullable=True))
    code = sa.Text(collation="C")
    op.create_table(
        "holds",
        sa.Column("step_name", code, nullable=False),
        sa.Column("kind", code, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("held_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('table', 'grant', 'secret', 'failures')", name=op.f("ck_holds_kind")
        ),
        sa.CheckConstraint("length(reason) <= 2000", name=op.f("ck_holds_reason")),
        sa.ForeignKeyConstraint(
            ["step_name"],
            [f"{REGISTRY}.step_name"],
            name=op.f("fk_holds_step_name"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("step_name", name=op.f("pk_holds")),
    )


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_column("workflow_states", "waits_since")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_{REGISTRY}_{name}"), REGISTRY)
    for column in ("env", "give_up_after_s", "hold_after"):
        op.drop_column(REGISTRY, column)
