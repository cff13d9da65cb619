"""Rows in flight are found by their key, not by a scan of all leases; one foreign key, not two.

The index of leases gets another condition than the index of keys in flight: see `WorkflowState`.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROWS = "workflow_states"
PARENTS = {"batch_id": "batches", "company_id": "companies"}


def upgrade() -> None:
    index_leases("lease_expires_at IS NOT NULL")
    op.create_foreign_key(
        op.f("fk_workflow_states_batch_id_company_id"),
        *(ROWS, "batch_companies", ["batch_id", "company_id"], ["batch_id", "company_id"]),
        ondelete="CASCADE",
    )
    for column in PARENTS:
        op.drop_constraint(op.f(f"fk_workflow_states_{column}"), ROWS)


def downgrade() -> None:
    for column, parent in PARENTS.items():
        name = op.f(f"fk_workflow_states_{column}")
        op.create_foreign_key(name, ROWS, parent, [column], ["id"], ondelete="CASCADE")
    op.drop_constraint(op.f("fk_workflow_states_batch_id_company_id"), ROWS)
    index_leases("status IN ('QUEUED', 'IN_PROGRESS')")


def index_leases(where: str) -> None:
    op.drop_index("ix_workflow_states_lease", ROWS)
    op.create_index(
        "ix_workflow_states_lease",
        ROWS,
        ["lease_expires_at"],
        postgresql_include=["step_name", "batch_id"],
        postgresql_where=sa.text(where),
    )
