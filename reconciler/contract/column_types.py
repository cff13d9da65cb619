"""What the tables of the contract are made of: their base, and the kinds of their columns."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Index, MetaData, Text, text
from sqlmodel import Field, SQLModel

# One at a time changes the schema: two that found it empty would both make it.
SCHEMA_TURN = "SELECT pg_advisory_xact_lock(hashtext('tracer.schema'))"
SCHEMA_REVISION = "0010"  # what this code reads and writes; a test holds it at Alembic's head

# Named by a convention, so that a revision can name what it drops on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

ERROR_CHARS = 2000  # of an error's text that a row keeps


def kept_text(text: str) -> str:
    """An error's text as a row keeps it; what Postgres cannot (NUL, lone surrogates) is visible."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()[:ERROR_CHARS]


def listed(codes: Iterable[StrEnum]) -> str:
    """Code words as a list in SQL has them."""
    return ", ".join(f"'{word}'" for word in codes)


def partial(name: str, where: str, *columns: str, **options: Any) -> Index:
    """An index of the rows that are as `where` says: what one verb looks for."""
    return Index(name, *columns, postgresql_where=text(where), **options)


def code() -> Any:
    """Text that holds a code word: compared byte by byte, since a locale's rules are slower."""
    return Text(collation="C")


def now(**options: Any) -> Any:
    """The moment at which the row is made, unless another is given."""
    return Field(
        sa_type=DateTime(timezone=True),
        sa_column_kwargs={"server_default": text("now()")},
        **options,
    )


def moment() -> Any:
    """A moment that may not have come yet."""
    return Field(default=None, sa_type=DateTime(timezone=True))


def default(value: str, **options: Any) -> Any:
    """A column with a default, written as in SQL, that the database fills in."""
    return Field(sa_column_kwargs={"server_default": text(value)}, **options)


class ContractTable(SQLModel):
    """Base of the contract's tables; its metadata is what Alembic's env.py compares."""

    metadata = MetaData(naming_convention=NAMING)
