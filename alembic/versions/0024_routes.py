"""A blueprint may have waterfalls: where a company goes on depends on what came of a step.

`steps` and `past` are made from the blueprint by Postgres, so that they always say the same:
the steps by their places, and where a company goes on that a member of a waterfall has found.

Revision: 0024
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATES = "workflow_states"
INDEX = "ix_workflow_states_to_advance"
ENDED = "status IN ('COMPLETED', 'NOT_FOUND', 'SKIPPED')"
GOES_ON = f"{ENDED} OR status = 'FAILED' AND in_waterfall"

# An element is a step's name, or {"first": [names]}, of which each is a place.
PART = """
CREATE FUNCTION blueprint_part(blueprint jsonb, part text) RETURNS jsonb
IMMUTABLE LANGUAGE sql AS $$
    WITH elements AS (
        SELECT element, number, jsonb_typeof(element -> 'first') = 'array' IS TRUE AS is_waterfall
        FROM jsonb_array_elements(
            CASE jsonb_typeof(blueprint) WHEN 'array' THEN blueprint ELSE '[]' END
        ) WITH ORDINALITY AS e (element, number)
    ), places AS (
        SELECT step, is_waterfall, row_number() OVER in_order AS place,
            count(*) OVER (ORDER BY number) AS past
        FROM elements
        CROSS JOIN LATERAL jsonb_array_elements(
            CASE WHEN is_waterfall THEN element -> 'first' ELSE jsonb_build_array(element) END
        ) WITH ORDINALITY AS m (step, member)
        WINDOW in_order AS (ORDER BY number, member)
    )
    SELECT CASE part
        WHEN 'steps' THEN coalesce(jsonb_agg(step ORDER BY place), '[]')
        WHEN 'past' THEN CASE WHEN bool_or(is_waterfall) THEN
            jsonb_agg(CASE WHEN is_waterfall THEN past END ORDER BY place) END
        END
    FROM places
$$
"""

# The code before this revision knows no waterfalls: a batch that has one is cancelled.
CANCEL = """
UPDATE batches SET status = 'CANCELLED', finished_at = coalesce(finished_at, now()),
    blueprint = steps
WHERE blueprint <> steps
"""
NOT_ADVANCED = f"UPDATE {STATES} SET advanced = false WHERE status = 'FAILED' AND advanced"
CANCEL_ROWS = f"""
UPDATE {STATES} w
SET status = 'CANCELLED', finished_at = now(), lease_expires_at = NULL
FROM batches b
WHERE b.id = w.batch_id AND b.status = 'CANCELLED'
  AND w.status IN ('PENDING', 'QUEUED', 'IN_PROGRESS')
"""


def exchange(goes_on: str, checked: dict[str, str]) -> None:
    """Let the rows go on that meet the condition; check the batches so."""
    op.drop_index(INDEX, STATES)
    to_advance = sa.text(f"({goes_on}) AND NOT advanced")
    op.create_index(INDEX, STATES, ["batch_id", "company_id"], postgresql_where=to_advance)
    name = op.f("ck_workflow_states_advanced_only_advancing")
    op.drop_constraint(name, STATES)
    op.create_check_constraint(name, STATES, f"NOT advanced OR {goes_on}")
    op.drop_constraint(op.f("ck_batches_blueprint"), "batches")
    for named, condition in checked.items():
        op.create_check_constraint(op.f(f"ck_batches_{named}"), "batches", condition)


def upgrade() -> None:
    op.execute(PART)
    for name, empty in (("steps", False), ("past", True)):
        made = sa.Computed(f"blueprint_part(blueprint, '{name}')", persisted=True)
        op.add_column("batches", sa.Column(name, JSONB, made, nullable=empty))
    none = sa.text("false")
    op.add_column(
        STATES, sa.Column("in_waterfall", sa.Boolean(), server_default=none, nullable=False)
    )
    is_list = "jsonb_typeof(blueprint) = 'array'"
    exchange(GOES_ON, {"blueprint": is_list, "steps": "is_blueprint(steps)"})


def downgrade() -> None:
    op.execute(CANCEL)
    op.execute(CANCEL_ROWS)
    op.execute(NOT_ADVANCED)
    op.drop_constraint(op.f("ck_batches_steps"), "batches")
    exchange(ENDED, {"blueprint": "is_blueprint(blueprint)"})
    op.drop_column(STATES, "in_waterfall")
    for name in ("past", "steps"):
        op.drop_column("batches", name)
    op.execute("DROP FUNCTION blueprint_part(jsonb, text)")
