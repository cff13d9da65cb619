"""Doctor's checks of the database: it takes writes, its schema is whole, its roles have grants."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import psycopg

from reconciler.contract.column_types import ContractTable
from reconciler.contract.database import Connection, Row, connect
from reconciler.contract.database_url import location
from reconciler.contract.errors import GRANT, NoRevision, TracerError, WrongSchema
from reconciler.contract.grants import (
    CONDUCTOR,
    GRANTS,
    OPERATOR,
    RESULTS,
    ROLES,
    SPECIAL,
    VIEWS,
    WORKER,
)
from reconciler.contract.results import RESULTS_SCHEMA, StepResult
from reconciler.contract.revision import check_revision
from reconciler.contract.session import DISK_FULL
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import existing_database_url
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.row_facts import StepFacts
from reconciler.operator.diagnosis.rules import step
from reconciler.operator.diagnosis.rules.loop import schema_damaged, wrong_schema
from reconciler.operator.diagnosis.rules.step import SYNC
from reconciler.operator.read_only import ReadOnlyStore, lock_timeout, read_only_store
from reconciler.operator.sql import health
from reconciler.operator.wording import plural

PRIVILEGE = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")
ROLE_URLS = f"{GRANT} --urls roles.env"
OTHER_URL = "export DATABASE_URL='postgresql://USER:PASSWORD@HOST:5432/DATABASE'"
SHOW_READ_ONLY = "psql \"$(tracer db url)\" -c 'SHOW default_transaction_read_only'"
FACTS = ("step", "enabled", "max_in_flight", "hold_kind", "hold_reason")
Columns = Mapping[str, Iterable[str]]
Tables = Callable[[], Mapping[str, type[StepResult]]]  # the steps whose code is here


def settings() -> str | Reason:
    """Every setting has a valid value."""
    found = load_settings()
    return f"workers: {found.workers}, home: {found.home}"


def database() -> str | Reason:
    """The database answers and takes writes."""
    url = existing_database_url(load_settings())
    try:
        connection = connect(url)
    except TracerError as error:
        raise TracerError(error.says, error.fix or OTHER_URL) from error
    with connection:
        row = connection.execute(health.WRITES).fetchone() or {}
        version, role = connection.info.server_version, connection.info.user
    if row["copy"]:
        says = f"{location(url)} is a copy that follows another server"
        return Reason(Code.DATABASE_READ_ONLY, says, OTHER_URL)
    if row["read_only"] == "on":
        says = f"{location(url)} takes no writes: {DISK_FULL}"
        return Reason(Code.DATABASE_READ_ONLY, says, SHOW_READ_ONLY)
    return f"{location(url)}, Postgres {version // 10000}, as {role}"


def schema() -> str | Reason:
    """The schema has the revision that this Tracer needs, and all its tables and columns."""
    with connect(existing_database_url(load_settings())) as connection:
        try:
            with lock_timeout(connection, ReadOnlyStore.patience_s):
                check_revision(connection)
        except WrongSchema as error:
            return wrong_schema(error)
        except NoRevision as error:
            return schema_damaged(error.says, error.fix)
        found = columns(connection, None)
    wanted = {name: table.columns.keys() for name, table in ContractTable.metadata.tables.items()}
    wanted |= {name: [] for name in VIEWS}
    if missing := list(lacking(wanted, found)):
        says = f"The database lacks {', '.join(missing)}: restore it from a backup"
        return schema_damaged(says)
    return "at the revision that this Tracer needs"


def role() -> str | Reason:
    """Tracer's three roles, and the role in DATABASE_URL, have the grants that they need."""
    with connect(existing_database_url(load_settings())) as connection:
        found = connection.execute(health.ROLES, {"roles": list(ROLES)}).fetchone() or {}
        me, owner = found["me"], found["owner"]
        tables = [] if me == CONDUCTOR else list(columns(connection, RESULTS_SCHEMA))
        faults = _faults_of_roles(connection, me, owner, found["roles"], tables)
        if fault := next(faults, None):
            return fault
    if me == WORKER:
        says = f"{me} is the workers' role: it may neither tick nor inspect"
        return Reason(Code.ROLE_OF_WORKERS, says, ROLE_URLS)
    may = {CONDUCTOR: "may tick", OPERATOR: "may inspect and steer, but not tick"}
    return f"{me} {may.get(me, 'owns the tables' if owner else 'may inspect and steer')}"


def _faults_of_roles(
    connection: Connection, me: str, owner: bool, existing: list[str], tables: list[str]
) -> Iterator[Reason]:
    """The roles that lack a grant, `me` among them; `existing` are those of Tracer's three.

    All databases of a server share its roles. So a role without any grant in this database belongs
    to another one, and is no fault.
    """
    if me not in ROLES and not owner:
        yield from _lacking_grants(connection, me, OPERATOR, tables, ROLE_URLS)
    for role in existing if me != CONDUCTOR else [me]:
        yield from _lacking_grants(connection, role, role, tables, GRANT, any_held=role != me)


def _lacking_grants(
    connection: Connection,
    role: str,
    model: str,
    tables: list[str],
    fix: str,
    any_held: bool = False,
) -> Iterator[Reason]:
    """A fault if `role` lacks a grant of the role `model`.

    With `any_held`, it is a fault only if the role has at least one of these grants.
    """
    needed = list(_needed_grants(model, tables))
    named = dict(zip(("tables", "privileges", "columns"), zip(*needed, strict=True), strict=True))
    values = {name: list(given) for name, given in named.items()}
    try:
        row = connection.execute(health.LACKING, {"role": role, **values}).fetchone() or {}
    except psycopg.errors.InsufficientPrivilege as error:  # no USAGE on a schema
        yield Reason(Code.ROLE_LACKS_GRANT, f"{role}: {error.diag.message_primary}", fix)
        return
    if row["lacking"] and (row["held"] or not any_held):
        says = f"{role} lacks {', '.join(row['lacking'][:5])}"
        yield Reason(Code.ROLE_LACKS_GRANT, says, fix)


def _needed_grants(role: str, tables: list[str]) -> Iterator[tuple[str, str, str]]:
    """The role's grants: table, privilege, columns. An empty text means the whole table."""
    grants = {name: per_role[role] for name, per_role in (GRANTS | VIEWS).items()}
    results = {
        f"{RESULTS_SCHEMA}.{name}": SPECIAL.get(name, RESULTS).get(role, "") for name in tables
    }
    for name, grant in (grants | results).items():
        for privilege, columns_ in PRIVILEGE.findall(grant):
            yield name, privilege, columns_


def steps(known: Tables) -> str | Reason:
    """Every step whose code was loaded here is registered."""
    with read_only_store() as store:
        registered = {row["step_name"] for row in store.steps()}
    here = set(known())
    if missing := sorted(here - registered):
        return step.unregistered(missing)
    gone = sorted(registered - here)
    without = f"; registered without code here: {', '.join(gone)}" if gone else ""
    return f"{len(here)} registered{without}"


def tables(known: Tables) -> str | Reason:
    """Every step whose code was loaded here has its domain table."""
    wanted = {str(table.__tablename__): list(table.model_fields) for table in known().values()}
    with connect(existing_database_url(load_settings())) as connection:
        found = columns(connection, RESULTS_SCHEMA)
    if lost := [f"{RESULTS_SCHEMA}.{name}" for name in SPECIAL if name not in found]:
        says = f"The database lacks {', '.join(lost)}: restore it from a backup"
        return schema_damaged(says)
    if missing := [f"{RESULTS_SCHEMA}.{name}" for name in lacking(wanted, found)]:
        return Reason(Code.RESULT_TABLE_MISSING, f"The database lacks {', '.join(missing)}", SYNC)
    return f"a table for each of {plural(len(wanted), 'step', 'steps')}"


def batches(known: Tables) -> str | Reason:
    """Every step of the running batches is registered, enabled, and has capacity and code."""
    with read_only_store() as store:
        needed = store.rows(health.NEEDED)
    here = set(known()) if load_settings().workers == "local" else None
    for row in needed:
        for fault in step.unworked(step_facts(row), row["batches"], here):
            return fault
    return f"the steps of running batches: {', '.join(row['step'] for row in needed) or 'none'}"


def step_facts(row: Row) -> StepFacts:
    """The facts of a row of `NEEDED`."""
    return StepFacts(**{name: row[name] for name in FACTS})


def columns(connection: Connection, schema: str | None) -> dict[str, list[str]]:
    """Column names by table, of this schema; None is the contract's schema."""
    found = connection.execute(health.COLUMNS, {"schema": schema})
    return {row["table"]: row["columns"] for row in found}


def lacking(wanted: Columns, found: Columns) -> Iterator[str]:
    """The wanted tables, and `TABLE.COLUMN` for columns, that do not exist."""
    for table, names in wanted.items():
        if table not in found:
            yield table
        else:
            yield from (f"{table}.{name}" for name in names if name not in found[table])
