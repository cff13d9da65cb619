"""Seeds a batch: COPY into a staging table, then one statement per table for all rows."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from reconciler.contract.caps import ALWAYS, batch_scope
from reconciler.contract.column_types import storable_text
from reconciler.contract.database import Connection
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.sql.progress import LOG_SEEDED
from reconciler.operator.history import Line
from reconciler.operator.money.amounts import digits
from reconciler.operator.money.plan import Plan, read_plan
from reconciler.operator.seeding.blueprint import check_needs
from reconciler.operator.seeding.companies import Duplicates, Members, make_members
from reconciler.operator.seeding.route import Route, read_route
from reconciler.operator.sql import seeding as statements
from reconciler.operator.sql.money import SET_CAP
from reconciler.operator.store import OperatorStore

# line, key, name, domain, and all attributes: a mapping, or the text of a JSON object
SeedRow = tuple[int, str, str | None, str | None, Mapping[str, Any] | str]
# The types for COPY. Without them the driver finds out the type of each value: 1.4 µs a row instead
# of 1.1.
TYPES = ("int8", "text", "text", "text", "text")


@dataclass(frozen=True)
class Spending:
    """What a batch may cost, None without a limit; its steps that use no earlier answer; the client
    whose cap it counts against."""

    cap: Decimal | None = None
    buy: Sequence[str] = ()
    client: str | None = None

    def said(self) -> dict[str, Any]:
        """What of it is set, for the history."""
        cap = {} if self.cap is None else {"cap": digits(self.cap)}
        buy = {"buy": list(self.buy)} if self.buy else {}
        return cap | buy | ({} if self.client is None else {"client": self.client})


FREELY = Spending()


@dataclass(frozen=True)
class Seeded:
    """What was seeded: the batch's name, its companies, how many of them wait for an approval; of a
    dry run, what it might cost."""

    batch: str
    members: Members
    unapproved: int = 0
    plan: Plan | None = None


def seed_batch(
    store: OperatorStore,
    rows: Iterable[SeedRow],
    *,
    name: str,
    blueprint: Sequence[Any],
    columns: Sequence[str],
    priority: int = 0,
    file: str | None = None,
    duplicates: Duplicates = Duplicates.FILL,
    dry_run: bool = False,
    spending: Spending = FREELY,
    sample: int | None = None,
    on_phase: Callable[[str], None] = lambda _: None,
) -> Seeded:
    """Seed a batch in one transaction: all of it or nothing.

    `blueprint` is a JSON array, see `read_route`. `columns` may still grow while `rows` are read.
    The history notes the `file`. `duplicates` says which of several rows with one key counts. Of a
    `sample`, only the first so many companies go, until the others are approved. `on_phase` gets
    what Postgres does next, after `rows` were read: "sorts companies in". With `dry_run`, nothing
    of it is kept, but the plan.

    Raises:
        BadInput: there is no row to seed, the blueprint is none, or a step comes before one that it
            needs.
        WorkFailed: the database refused the rows.
    """
    route = read_route(list(blueprint))
    try:
        with store.transaction() as connection:
            given = (name, route, columns, priority, file, duplicates, spending, sample, on_phase)
            batch_id, seeded = _seed(connection, rows, *given, store.who)
            if dry_run:
                plan = read_plan(connection, batch_id, spending.client, route.steps, spending.buy)
                seeded = replace(seeded, plan=plan)
                raise psycopg.Rollback
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        reason = str(error).splitlines()[0]
        raise WorkFailed(f"Nothing was seeded: the database refused it: {reason}.") from error
    return seeded


def _seed(
    connection: Connection,
    rows: Iterable[SeedRow],
    name: str,
    route: Route,
    columns: Sequence[str],
    priority: int,
    file: str | None,
    duplicates: Duplicates,
    spending: Spending,
    sample: int | None,
    on_phase: Callable[[str], None],
    who: str,
) -> tuple[int, Seeded]:
    """The batch's id, and what was seeded."""
    check_needs(connection, route.steps)  # before a row is read
    staged = _stage(connection, rows)
    on_phase("waits for another seeding to end")
    connection.execute(statements.SEEDING_TURN)
    if not staged:
        raise BadInput("Nothing was seeded: no row of the file can be used.")
    about = {"blueprint": Jsonb(route.blueprint), "columns": Jsonb(list(columns))}
    bought = {"buy": list(spending.buy), "client": spending.client}
    made = {"name": name, "priority": priority, **bought, **about}
    batch = connection.execute(statements.BATCH, made).fetchone()
    assert batch is not None  # one number of the series is always free
    if spending.cap is not None:
        cap = {"scope": batch_scope(batch["id"]), "since": ALWAYS, "most": spending.cap}
        connection.execute(SET_CAP, cap)
    on_phase("sorts companies in")
    members = make_members(connection, batch["id"], staged, duplicates)
    on_phase("adds a row for each of them")
    those = statements.SAMPLED if sample else ""
    given = {"batch_id": batch["id"], "sample": sample, **route.first}
    rows_made = connection.execute(statements.STATES.format(and_those=those), given).rowcount
    connection.execute(LOG_SEEDED, {"batch_id": batch["id"], "rows": rows_made})
    if rest := members.new + members.known - rows_made:
        connection.execute(statements.UNAPPROVED, {"batch_id": batch["id"], "rest": rest})
    of_file = {"file": storable_text(file)} if file else {}
    changed = {"changed": members.changes.companies} if members.changes.companies else {}
    detail = {"blueprint": route.blueprint, "priority": priority, **spending.said()}
    detail |= of_file | changed | ({"sample": sample} if sample else {})
    Line(batch["id"], who, "seed", detail).add(connection, members.new + members.known)
    return batch["id"], Seeded(batch["name"], members, rest)


def _stage(connection: Connection, rows: Iterable[SeedRow]) -> int:
    """Copy the rows to the staging table while they are read; returns their number."""
    connection.execute(statements.STAGE)
    cursor = connection.cursor()
    with cursor.copy(statements.COPY) as copy:
        copy.set_types(TYPES)
        for line, key, company, domain, attributes in rows:
            text = attributes if isinstance(attributes, str) else json.dumps(attributes)
            copy.write_row((line, key, company, domain, text))
    return cursor.rowcount
