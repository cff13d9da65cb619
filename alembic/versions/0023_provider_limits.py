"""Providers have limits: windows, calls at a time, pauses; an order knows when its call may go out.

Revision: 0023
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
CODE = sa.Text(collation="C")
COLUMNS = (
    ("windows", JSONB, None),
    ("burst", sa.Integer, "1"),
    ("max_concurrent", sa.Integer, None),
    ("spacing_s", sa.Float, None),
    ("next_at", MOMENT, None),
    ("calls_left", sa.Integer, None),
    ("full_until", MOMENT, None),
    ("paused_until", MOMENT, None),
    ("pause_kind", CODE, None),
    ("paused_why", sa.Text, None),
    ("failures", sa.Integer, "0"),
    ("learned_rate", sa.Float, None),
    ("ceiling", sa.Float, None),
    ("refusals", sa.Integer, "0"),
    ("refused_at", MOMENT, None),
    ("changed_at", MOMENT, None),
)
CHECKS = {
    "bounds": "burst >= 1 AND max_concurrent >= 1",
    "spacing": "spacing_s > 0 AND spacing_s <= 31536000",
    "rates": "learned_rate > 0 AND ceiling > 0",
}


def upgrade() -> None:
    for name, kind, first in COLUMNS:
        column = sa.Column(name, kind, server_default=first, nullable=first is None)
        op.add_column("providers", column)
    for name, rule in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_providers_{name}"), "providers", rule)
    op.create_table(
        "provider_calls",
        sa.Column("provider", CODE, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("provider", "at", name=op.f("pk_provider_calls")),
    )
    op.add_column("orders", sa.Column("send_at", MOMENT))
    op.add_column("enrichment_registry", sa.Column("bulk", sa.Integer))
    op.add_column(
        "enrichment_registry",
        sa.Column("timeout_s", sa.Float, nullable=False, server_default="60"),
    )


def downgrade() -> None:
    op.drop_column("enrichment_registry", "timeout_s")
    op.drop_column("enrichment_registry", "bulk")
    op.drop_column("orders", "send_at")
    op.drop_table("provider_calls")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_providers_{name}"), "providers")
    for name, _, _ in reversed(COLUMNS):
        op.drop_column("providers", name)
