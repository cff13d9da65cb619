"""A result of any type of column is written as it is, the first time and again."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ARRAY, JSON, Column, Numeric, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from reconciler.contract.results import StepResult
from reconciler.schema.domain_tables import sync_tables
from tests.reconciler.contract.test_superseded import complete
from tests.world import World


class Size(StrEnum):
    small = "small"  # a column of an enum keeps the names
    large = "large"


class Typed(StepResult, table=True):
    __tablename__ = "typed"
    price: Decimal | None = None
    exact: Decimal | None = Field(default=None, sa_type=Numeric(12, 2))
    founded: date | None = None
    seen: datetime | None = None
    took: timedelta | None = None
    tags: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    raw: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    found: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    size: Size | None = None
    number: UUID | None = None
    public: bool | None = None
    ratio: float | None = None
    code: str | None = Field(default=None, sa_type=Text(collation="C"))
    country: str | None = Field(default=None, sa_column=Column(String(2)))
    employees: int | None = None
    order: str | None = Field(default=None, sa_column=Column("order", String))


VALUES: dict[str, Any] = {
    "price": Decimal("12345678901234567.123456789"),
    "exact": Decimal("10.25"),
    "founded": date(1998, 9, 4),
    "seen": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "took": timedelta(days=1, seconds=2),
    "tags": ["a,b", 'c"d', "{e}"],
    "raw": {"z": 1, "a": [1.5, None]},
    "found": {"z": 1, "a": [1.5, None]},
    "size": Size.large,
    "number": UUID("12345678-1234-5678-1234-567812345678"),
    "public": True,
    "ratio": 0.1,
    "code": "x % y",
    "country": "DE",
    "employees": 2**40,
    "order": "first",
}


@pytest.mark.parametrize("times", [1, 2])
def test_each_type_is_kept_exactly(world: World, url: str, times: int) -> None:
    sync_tables(url, [Typed])
    assert world.worker.lacks(Typed) is None
    for batch in range(times):
        complete(world, f"batch-{batch}", Typed(**VALUES))
    (row,) = world.sql("SELECT * FROM results.typed")
    kept = {name: row[name] for name in VALUES}
    kept["seen"] = kept["seen"].replace(tzinfo=UTC)  # a column without a time zone
    assert kept == VALUES
