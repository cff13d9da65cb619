"""Orders, answers, caps and spend: each call is paid for once, and no cap is passed.

Revision: 0019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

REGISTRY = "enrichment_registry"
CODE = sa.Text(collation="C")
MOMENT = sa.DateTime(timezone=True)
LIVE = "void_at IS NULL AND superseded_at IS NULL"
OPEN = f"answered_at IS NULL AND {LIVE}"
COST = (
    "CASE WHEN void_at IS NULL AND answered_at IS NULL AND unknown_at IS NOT NULL"
    " THEN greatest(price, charged) WHEN charged IS NOT NULL THEN charged"
    " WHEN void_at IS NOT NULL THEN 0 END"
)
DECIDED = "(answered_at IS NOT NULL OR void_at IS NOT NULL OR unknown_at IS NOT NULL)"
FOUND_OUT = "unknown_at IS NOT NULL AND (answered_at IS NOT NULL OR void_at IS NOT NULL)"
TO_SETTLE = f"({COST} IS DISTINCT FROM settled OR {DECIDED} AND settled_at IS NULL OR {FOUND_OUT})"
KINDS = (
    *("spawn_refused", "spawn_unknown", "not_begun", "worker_silent", "shared_worker", "raised"),
    *("permanent", "retry_after", "timed_out", "wrong_result", "not_written", "not_found"),
    *("stopped", "input_missing"),
)
NEW_KIND = "may_be_charged"
REGISTRY_CHECKS = {
    "price": "price >= 0 AND price < 1000000000",
    "fresh_for": "fresh_for_s > 0 AND fresh_for_s <= 315360000",
    "key_ttl": "key_ttl_s > 0 AND key_ttl_s <= 31536000",
    "recall": "recall IN ('key', 'lookup', 'none', 'again')",
}


def moment(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column:
    default = sa.text("now()") if now else None
    return sa.Column(name, MOMENT, server_default=default, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("name", CODE, nullable=False),
        sa.Column("keep_for_s", sa.Float(), nullable=True),
        moment("created_at", nullable=False, now=True),
        sa.CheckConstraint(
            "keep_for_s > 0 AND keep_for_s <= 315360000", name=op.f("ck_providers_keep_for")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_providers")),
    )
    for column in (
        sa.Column("provider", CODE, nullable=True),
        sa.Column("price", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("fresh_for_s", sa.Float(), nullable=True),
        sa.Column("recall", CODE, server_default=sa.text("'none'"), nullable=False),
        sa.Column("key_ttl_s", sa.Float(), server_default=sa.text("86400"), nullable=False),
    ):
        op.add_column(REGISTRY, column)
    for name, condition in REGISTRY_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{REGISTRY}_{name}"), REGISTRY, condition)
    buy = sa.Column("buy", ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
    op.add_column("batches", buy)
    op.add_column("companies", moment("changed_at"))
    op.add_column("workflow_states", sa.Column("reused", UUID(as_uuid=True), nullable=True))
    kinds((*KINDS, NEW_KIND))
    _orders()
    _answers()
    _caps()


def kinds(allowed: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in allowed)
    for table in ("workflow_states", "attempts"):
        name = op.f(f"ck_{table}_error_kind")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, f"error_kind IN ({listed})")


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column(
            "id", UUID(as_uuid=True), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column("step_name", CODE, nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("provider", CODE, nullable=True),
        sa.Column("price", sa.Numeric(), nullable=False),
        moment("made_at", nullable=False, now=True),
        sa.Column("for_batch", sa.Integer(), nullable=True),
        sa.Column("for_attempt", sa.Integer(), nullable=True),
        moment("sent_at"),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("known", sa.Integer(), server_default=sa.text("0"), nullable=False),
        moment("answered_at"),
        sa.Column("found", sa.Boolean(), nullable=True),
        sa.Column("charged", sa.Numeric(), nullable=True),
        sa.Column("settled", sa.Numeric(), nullable=True),
        moment("settled_at"),
        moment("unknown_at"),
        moment("void_at"),
        moment("superseded_at"),
        sa.CheckConstraint("price >= 0", name=op.f("ck_orders_price")),
        sa.CheckConstraint("charged >= 0 AND charged < 1000000000", name=op.f("ck_orders_charged")),
        sa.CheckConstraint(
            "answered_at IS NULL OR sent_at IS NOT NULL", name=op.f("ck_orders_answered_was_sent")
        ),
        sa.CheckConstraint(
            "answered_at IS NULL OR charged IS NOT NULL", name=op.f("ck_orders_answered_is_charged")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    for name, columns, where, unique in (
        ("uq_orders_open", ["company_id", "step_name"], OPEN, True),
        ("ix_orders_live", ["company_id", "step_name", "made_at"], LIVE, False),
        ("ix_orders_left_open", ["made_at"], f"{OPEN} AND unknown_at IS NULL", False),
        ("ix_orders_to_settle", ["made_at"], TO_SETTLE, False),
        ("ix_orders_unknown", ["unknown_at"], f"{OPEN} AND unknown_at IS NOT NULL", False),
    ):
        op.create_index(name, "orders", columns, unique=unique, postgresql_where=sa.text(where))
    op.create_index("ix_orders_made", "orders", ["made_at"], postgresql_using="brin")


def _answers() -> None:
    op.create_table(
        "answers",
        sa.Column("order_id", UUID(as_uuid=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("try", sa.Integer(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("request_hash", CODE, nullable=False),
        sa.Column("request", JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("shares", UUID(as_uuid=True), nullable=True),
        moment("at", nullable=False, now=True),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_answers_order_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("order_id", "number", "try", name=op.f("pk_answers")),
        schema="results",
    )


def _caps() -> None:
    amounts = [
        sa.Column(name, sa.Numeric(), server_default=sa.text("0"), nullable=False)
        for name in ("reserved", "spent", "beyond")
    ]
    op.create_table(
        "caps",
        sa.Column("scope", CODE, nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("most", sa.Numeric(), nullable=True),
        *amounts,
        sa.CheckConstraint(
            "reserved >= 0 AND spent >= 0 AND beyond >= 0", name=op.f("ck_caps_from_zero")
        ),
        sa.CheckConstraint("reserved + spent <= most", name=op.f("ck_caps_most")),
        sa.PrimaryKeyConstraint("scope", "since", name=op.f("pk_caps")),
    )
    op.create_table(
        "spend",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("batch", sa.String(), nullable=False),
        sa.Column("step_name", CODE, nullable=False),
        sa.Column("provider", CODE, nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in ("bought", "hits", "unknown", "reused")
        ),
        sa.Column("charged", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("day", "batch", "step_name", "provider", name=op.f("pk_spend")),
    )


def downgrade() -> None:
    op.drop_table("spend")
    op.drop_table("caps")
    op.drop_table("answers", schema="results")
    op.drop_table("orders")
    op.drop_column("workflow_states", "reused")
    op.drop_column("companies", "changed_at")
    op.drop_column("batches", "buy")
    for name in REGISTRY_CHECKS:
        op.drop_constraint(op.f(f"ck_{REGISTRY}_{name}"), REGISTRY)
    for column in ("key_ttl_s", "recall", "fresh_for_s", "price", "provider"):
        op.drop_column(REGISTRY, column)
    op.drop_table("providers")
    for table in ("workflow_states", "attempts"):
        op.execute(f"UPDATE {table} SET error_kind = 'raised' WHERE error_kind = '{NEW_KIND}'")
    kinds(KINDS)
