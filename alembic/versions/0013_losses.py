"""A row says how many workers have died that had it in hand, and goes out in smaller groups then.

Revision: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KINDS = (
    *("spawn_refused", "spawn_unknown", "not_begun", "worker_silent", "raised", "permanent"),
    *("retry_after", "timed_out", "wrong_result", "not_written", "not_found", "input_missing"),
)
NEW = {"shared_worker": "worker_silent", "stopped": "raised"}  # and what it was before


def kinds(allowed: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in allowed)
    for table in ("workflow_states", "attempts"):
        name = op.f(f"ck_{table}_error_kind")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, f"error_kind IN ({listed})")


def upgrade() -> None:
    losses = sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("workflow_states", losses)
    kinds((*KINDS, *NEW))


def downgrade() -> None:
    op.drop_column("workflow_states", "losses")
    for table in ("workflow_states", "attempts"):
        for kind, before in NEW.items():
            op.execute(f"UPDATE {table} SET error_kind = '{before}' WHERE error_kind = '{kind}'")
    kinds(KINDS)
