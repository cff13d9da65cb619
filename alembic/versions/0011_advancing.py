"""Rows end as NOT_FOUND or SKIPPED too, and go on; steps say which steps must come before them.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATES = "workflow_states"
COUNTS = ("not_found", "skipped")
KINDS = (
    *("spawn_refused", "spawn_unknown", "not_begun", "worker_silent", "raised", "permanent"),
    *("retry_after", "timed_out", "wrong_result", "not_written"),
)
NEW_KINDS = ("not_found", "input_missing")
NEW = ("NOT_FOUND", "SKIPPED")


def among(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def checks(ended: tuple[str, ...], kinds: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """The conditions that name statuses and kinds, by table and name; `ended` rows go on."""
    terminal = (*ended, "FAILED", "CANCELLED")
    every = ("PENDING", "QUEUED", "IN_PROGRESS", *terminal)
    in_terms = f"(finished_at IS NOT NULL) = (status IN ({among(terminal)}))"
    return {
        (STATES, "status"): f"status IN ({among(every)})",
        (STATES, "finished_iff_terminal"): in_terms,
        (STATES, "error_kind"): f"error_kind IN ({among(kinds)})",
        ("attempts", "error_kind"): f"error_kind IN ({among(kinds)})",
    }


BEFORE = {
    **checks(("COMPLETED",), KINDS),
    (STATES, "advanced_only_completed"): "NOT advanced OR status = 'COMPLETED'",
}
AFTER = {
    **checks(("COMPLETED", *NEW), (*KINDS, *NEW_KINDS)),
    (
        STATES,
        "advanced_only_advancing",
    ): f"NOT advanced OR status IN ({among(('COMPLETED', *NEW))})",
}
# Name, its columns after the batch, and its condition.
INDEXES_BEFORE = (
    ("ix_workflow_states_completed", "company_id", "status = 'COMPLETED' AND NOT advanced"),
    ("ix_workflow_states_error", "step_name", "error IS NOT NULL"),
)
INDEXES_AFTER = (
    (
        "ix_workflow_states_to_advance",
        "company_id",
        f"status IN ({among(('COMPLETED', *NEW))}) AND NOT advanced",
    ),
    (
        "ix_workflow_states_error",
        "step_name",
        f"error IS NOT NULL AND status NOT IN ({among((*NEW, 'CANCELLED'))})",
    ),
)

# The code before this revision lets only COMPLETED rows go on. That word would claim a result.
TO_FAILED = f"""
UPDATE workflow_states
SET status = 'FAILED', advanced = false, error = coalesce(error, 'not found'),
    error_kind = 'permanent'
WHERE status IN ({among(NEW)})
"""
TO_RAISED = """
UPDATE {table} SET error_kind = 'raised' WHERE error_kind IN ('not_found', 'input_missing')
"""


def drop(checks: dict[tuple[str, str], str], indexes: tuple[tuple[str, str, str], ...]) -> None:
    for table, name in checks:
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    for name, _, _ in indexes:
        op.drop_index(name, STATES)


def make(checks: dict[tuple[str, str], str], indexes: tuple[tuple[str, str, str], ...]) -> None:
    for (table, name), condition in checks.items():
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    for name, column, condition in indexes:
        columns = ["batch_id", column]
        op.create_index(name, STATES, columns, postgresql_where=sa.text(condition))


# Whatever a worker of the code before writes is still allowed: it finishes what it has begun.
def upgrade() -> None:
    drop(BEFORE, INDEXES_BEFORE)
    make(AFTER, INDEXES_AFTER)
    for name in COUNTS:
        count = sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
        op.add_column("progress", count)
    needs = sa.Column("needs", ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
    op.add_column("enrichment_registry", needs)


def downgrade() -> None:
    op.drop_column("enrichment_registry", "needs")
    for name in COUNTS:
        op.drop_column("progress", name)
    drop(AFTER, INDEXES_AFTER)
    op.execute(TO_FAILED)
    for table in (STATES, "attempts"):
        op.execute(TO_RAISED.format(table=table))
    make(BEFORE, INDEXES_BEFORE)
