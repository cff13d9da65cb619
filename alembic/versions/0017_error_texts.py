"""The conductor cannot read an error's text: a step may have put a company's data into it.

An error has a kind and a text, or neither, so the kind alone says that there is one. And the reap,
which moves texts, is a function with its owner's rights.

A step whose file cannot be imported is held: the registry says which file it is in.

Revision: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = ("workflow_states", "attempts")
REGISTRY, HOLDS = "enrichment_registry", "holds"
KINDS = "'table', 'grant', 'secret', 'failures'"
ARGUMENTS = """
    now timestamptz, company_ids bigint[], steps text[], batch_ids int[], attempts int[],
    available timestamptz[], errors text[], kinds text[], forgiving bool[], lost bool[],
    waits bool[]
"""
# An attempt that is followed by another goes into `attempts`; the last one stays in the row.
# ON CONFLICT: someone may have reset the row's attempt by hand. Without it, the duplicate key would
# then make every tick fail.
# A function with its owner's rights looks up no name where others could write one. A constraint
# that is violated shows the row, so the caller gets its name alone.
REAP = """
CREATE FUNCTION {schema}.tracer_reap(
    now timestamptz, company_ids bigint[], steps text[], batch_ids int[], attempts int[],
    available timestamptz[], errors text[], kinds text[], forgiving bool[], lost bool[],
    waits bool[], OUT retried bigint, OUT failed bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WITH moved AS (
        UPDATE {schema}.workflow_states w
        SET status = CASE WHEN held.available IS NULL THEN 'FAILED' ELSE 'PENDING' END,
            available_at = coalesce(held.available, w.available_at),
            finished_at = CASE WHEN held.available IS NULL THEN $1 END, lease_expires_at = NULL,
            error = left(coalesce(held.error || ': ' || w.error, held.error, w.error), 2000),
            error_kind = held.kind,
            forgiven = w.forgiven + held.forgiving::int, losses = w.losses + held.lost::int,
            waits_since = CASE WHEN held.waits THEN coalesce(w.waits_since, $1) END
        FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS held (company_id, step_name,
            batch_id, attempt, available, error, kind, forgiving, lost, waits)
        WHERE w.company_id = held.company_id AND w.step_name = held.step_name
          AND w.batch_id = held.batch_id AND w.attempt = held.attempt
        RETURNING w.company_id, w.step_name, w.batch_id, w.attempt, w.queued_at, w.started_at,
            w.call_id, w.error, w.error_kind, w.status
    ), kept AS (
        INSERT INTO {schema}.attempts AS kept (company_id, step_name, batch_id, attempt, queued_at,
            started_at, ended_at, call_id, error, error_kind)
        SELECT m.company_id, m.step_name, m.batch_id, m.attempt, m.queued_at, m.started_at, $1,
            m.call_id, m.error, m.error_kind
        FROM moved m
        WHERE m.status = 'PENDING'
        ON CONFLICT (company_id, step_name, batch_id, attempt) DO UPDATE
        SET queued_at = excluded.queued_at, started_at = excluded.started_at,
            ended_at = excluded.ended_at, call_id = excluded.call_id, error = excluded.error,
            error_kind = excluded.error_kind
    )
    SELECT count(*) FILTER (WHERE m.status = 'PENDING'), count(*) FILTER (WHERE m.status = 'FAILED')
    INTO retried, failed
    FROM moved m;
EXCEPTION WHEN integrity_constraint_violation THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
END $$
"""


def upgrade() -> None:
    for table in TABLES:
        op.execute(
            f"UPDATE {table} SET error_kind = 'raised'"
            " WHERE error IS NOT NULL AND error_kind IS NULL"
        )
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_kind_has_error,"
            f" ADD CONSTRAINT ck_{table}_kind_iff_error"
            " CHECK ((error_kind IS NULL) = (error IS NULL))"
        )
    op.add_column(REGISTRY, sa.Column("module", sa.Text(collation="C"), nullable=True))
    replace_kinds(f"{KINDS}, 'import'")
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    op.execute(REAP.format(schema=schema))
    op.execute(f"REVOKE ALL ON FUNCTION {schema}.tracer_reap FROM PUBLIC")


def replace_kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_holds_kind"), HOLDS)
    op.create_check_constraint(op.f("ck_holds_kind"), HOLDS, f"kind IN ({kinds})")


def downgrade() -> None:
    op.execute("DROP FUNCTION tracer_reap")
    op.execute("DELETE FROM holds WHERE kind = 'import'")
    replace_kinds(KINDS)
    op.drop_column(REGISTRY, "module")
    for table in TABLES:
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_kind_iff_error,"
            f" ADD CONSTRAINT ck_{table}_kind_has_error"
            " CHECK (error_kind IS NULL OR error IS NOT NULL)"
        )
