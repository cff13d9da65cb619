"""How a statement names rows that another process holds: by their key and attempt, the fence."""

_HELD = """
unnest(%(company_ids)s::bigint[], %(steps)s::text[], %(batch_ids)s::int[],
       %(attempts)s::int[]{more}) AS held (company_id, step_name, batch_id, attempt{columns})
"""
SAME_ATTEMPT = """
w.company_id = held.company_id AND w.step_name = held.step_name
    AND w.batch_id = held.batch_id AND w.attempt = held.attempt
"""


def held(**columns: str) -> str:
    """The FROM item `held`: arrays of equal length, with a further column for each of `columns`."""
    return _HELD.format(
        more="".join(f", %({name})s::{kind}[]" for name, kind in columns.items()),
        columns="".join(f", {name}" for name in columns),
    )
