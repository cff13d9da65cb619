"""Tables of results follow their classes: wide integers, indexes, and what is there already."""

from sqlalchemy import SmallInteger
from sqlmodel import Field

from reconciler.contract.results import StepResult
from reconciler.schema.domain_tables import sync_tables
from tests.world import World


class Deal(StepResult, table=True):
    __tablename__ = "deal"
    usd: int
    vat: int | None = None
    city: str | None = Field(default=None, index=True)
    stars: int | None = Field(default=None, sa_type=SmallInteger)


TYPES = """
SELECT column_name AS name, data_type AS type FROM information_schema.columns
WHERE table_name = 'deal' ORDER BY ordinal_position
"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'deal' ORDER BY 1"


def types(world: World) -> dict[str, str]:
    return {row["name"]: row["type"] for row in world.sql(TYPES)}


def indexes(world: World) -> list[str]:
    return [row["indexname"] for row in world.sql(INDEXES)]


def test_an_int_is_wide_unless_its_type_is_chosen(world: World, url: str) -> None:
    sync_tables(url, [Deal])
    found = types(world)
    assert (found["usd"], found["vat"], found["stars"]) == ("bigint", "bigint", "smallint")
    world.sql("INSERT INTO results.deal (company_id, usd) VALUES (1, 2500000000)")


def test_a_column_of_before_is_widened_and_keeps_its_values(world: World, url: str) -> None:
    sync_tables(url, [Deal])
    world.sql("ALTER TABLE results.deal ALTER COLUMN usd TYPE integer")
    world.sql("INSERT INTO results.deal (company_id, usd) VALUES (1, 7)")
    assert sync_tables(url, [Deal]) == ["Column results.deal.usd widened: INTEGER -> BIGINT"]
    assert world.sql("SELECT usd FROM results.deal") == [{"usd": 7}]
    assert types(world)["usd"] == "bigint"
    assert sync_tables(url, [Deal]) == []


def test_an_index_is_made_with_its_table_or_later(world: World, url: str) -> None:
    assert sync_tables(url, [Deal]) == [
        "Table results.deal created",
        "Index ix_deal_city of results.deal created",
    ]
    assert indexes(world) == ["deal_pkey", "ix_deal_city"]
    world.sql("DROP INDEX results.ix_deal_city")
    assert sync_tables(url, [Deal]) == ["Index ix_deal_city of results.deal created"]
    assert indexes(world) == ["deal_pkey", "ix_deal_city"]


def test_an_index_of_ones_own_stays(world: World, url: str) -> None:
    sync_tables(url, [Deal])
    world.sql("CREATE INDEX mine ON results.deal (usd)")
    assert sync_tables(url, [Deal]) == []
    assert "mine" in indexes(world)


def test_a_worker_takes_a_table_that_is_still_narrow(world: World, url: str) -> None:
    sync_tables(url, [Deal])
    world.sql("ALTER TABLE results.deal ALTER COLUMN usd TYPE integer")
    assert world.worker.lacks(Deal) is None
