"""The base of the contract's tables, and the types of their columns."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Index, MetaData, Text, text
from sqlmodel import Field, SQLModel

# One program changes the schema at a time: two that find no schema would both create it.
SCHEMA_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.schema'))"
SCHEMA_REVISION = "0025"  # that this code reads and writes; a test compares it with Alembic's head

# Names by a convention: a revision that drops a constraint then knows its name on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

ERROR_CHARS = 2000  # the longest error text that a row keeps
ERROR_BYTES = 4 * ERROR_CHARS


def storable_text(text: str) -> str:
    """`text` as Postgres can store it: NUL and lone surrogates escaped, cut to `ERROR_CHARS`."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()[:ERROR_CHARS]


def listed(codes: Iterable[StrEnum]) -> str:
    """Codes as an SQL list, for IN."""
    return ", ".join(f"'{word}'" for word in codes)


def partial(name: str, where: str, *columns: str, **options: Any) -> Index:
    """An index of the rows that meet the SQL condition `where`: the rows that one verb needs."""
    return Index(name, *columns, postgresql_where=text(where), **options)


def code() -> Any:
    """Text that holds a code. Compared byte by byte, because a locale's rules are slower."""
    return Text(collation="C")


def now(**options: Any) -> Any:
    """A timestamp; now() by default."""
    return Field(
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
        **options,
    )


def moment() -> Any:
    """A timestamp that may be null."""
    return Field(default=None, sa_type=DateTime(timezone=True))


def default(value: str, **options: Any) -> Any:
    """A column with a default in the database; `value` is its SQL."""
    return Field(sa_column_kwargs={"server_default": text(value)}, **options)


class ContractTable(SQLModel):
    """Base of the contract's tables; Alembic's env.py compares its metadata."""

    metadata = MetaData(naming_convention=NAMING)
