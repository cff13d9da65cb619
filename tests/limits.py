"""The words in which tests set how a provider stands."""

from typing import Any

from tests.world import World


def stands(world: World, name: str = "acme", **columns: str) -> None:
    """Set columns of the provider; their values are SQL."""
    each = ", ".join(f"{column} = {value}" for column, value in columns.items())
    world.sql(f"UPDATE providers SET {each} WHERE name = %(name)s", name=name)


def row_of(world: World, name: str = "acme") -> dict[str, Any]:
    """The provider's row, with its pause as text: Python has no infinite time."""
    text = "paused_until::text AS paused_until"
    (found,) = world.sql(
        "SELECT windows, burst, max_concurrent, spacing_s, next_at, calls_left, full_until,"
        f" keep_for_s, pause_kind, paused_why, failures, learned_rate, ceiling, {text}"
        " FROM providers WHERE name = %(name)s",
        name=name,
    )
    return found
