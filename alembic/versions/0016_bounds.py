"""Times are finite, and texts short, whoever writes them: one row must not stop every tick.

Revision: 0016
"""

from collections.abc import Iterator

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

FIRST, LAST = "'0001-01-02 00:00:00+00'", "'9999-01-01 00:00:00+00'"
# (table, times, texts with their most bytes)
TABLES = (
    (
        "workflow_states",
        (
            "available_at",
            "lease_expires_at",
            "created_at",
            "queued_at",
            "started_at",
            "finished_at",
        ),
        {"error": 8000, "call_id": 1000, "holder": 1000},
    ),
    ("attempts", ("queued_at", "started_at", "ended_at"), {"error": 8000, "call_id": 1000}),
)


def finite(times: tuple[str, ...]) -> str:
    return " AND ".join(f"{time} BETWEEN {FIRST} AND {LAST}" for time in times)


def short(texts: dict[str, int]) -> str:
    return " AND ".join(f"octet_length({text}) <= {most}" for text, most in texts.items())


# What would not fit is mended first. Both checks come with one statement, so that the table is read
# once for them. NOT VALID would leave that read for later, but not unlock the table: all revisions
# are one transaction.
def upgrade() -> None:
    for table, times, texts in TABLES:
        values = [*mended_times(times), *(cut(text, most) for text, most in texts.items())]
        op.execute(
            f"UPDATE {table} SET {', '.join(values)}"
            f" WHERE NOT ({finite(times)}) OR NOT ({short(texts)})"
        )
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_finite CHECK ({finite(times)}),"
            f" ADD CONSTRAINT ck_{table}_short CHECK ({short(texts)})"
        )


def mended_times(times: tuple[str, ...]) -> Iterator[str]:
    for time in times:
        wrong = f"{time} NOT BETWEEN {FIRST} AND {LAST}"
        yield f"{time} = CASE WHEN {wrong} THEN now() ELSE {time} END"


def cut(text: str, most: int) -> str:
    return (
        f"{text} = CASE WHEN octet_length({text}) > {most} THEN left({text}, 250) ELSE {text} END"
    )


def downgrade() -> None:
    for table, *_ in TABLES:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_finite")
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_short")
