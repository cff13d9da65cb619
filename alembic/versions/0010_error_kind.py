"""An error has a kind beside its text: programs decide by the kind, people read the text.

Revision: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("workflow_states", "attempts")
KINDS = (
    *("spawn_refused", "spawn_unknown", "not_begun", "worker_silent", "raised", "permanent"),
    *("retry_after", "timed_out", "wrong_result", "not_written"),
)
LISTED = ", ".join(f"'{kind}'" for kind in KINDS)
# The error texts of the code before this revision. All other texts came from steps: `raised`.
KIND_OF = """
CASE
    WHEN error LIKE 'spawn refused: %' THEN 'spawn_refused'
    WHEN error LIKE 'spawn outcome unknown: %' THEN 'spawn_unknown'
    WHEN error = 'no worker began it before its start deadline' THEN 'not_begun'
    WHEN error = 'its worker stopped renewing the lease and is presumed dead'
        THEN 'worker_silent'
    WHEN error LIKE 'PermanentError: %' THEN 'permanent'
    WHEN error LIKE 'RetryAfter: %' THEN 'retry_after'
    WHEN error LIKE 'result not written: %' THEN 'not_written'
    WHEN error LIKE 'took longer than % s' THEN 'timed_out'
    WHEN error LIKE 'returned % instead of %' THEN 'wrong_result'
    WHEN error LIKE '% does not fit: %' THEN 'wrong_result'
    ELSE 'raised'
END
"""


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("error_kind", sa.Text(collation="C"), nullable=True))
        op.execute(f"UPDATE {table} SET error_kind = {KIND_OF} WHERE error IS NOT NULL")
        checks = {
            "error_kind": f"error_kind IN ({LISTED})",
            # Not the reverse: a worker of the code before this revision finishes what it has begun.
            "kind_has_error": "error_kind IS NULL OR error IS NOT NULL",
        }
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    for table in TABLES:
        for name in ("kind_has_error", "error_kind"):
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
        op.drop_column(table, "error_kind")
