"""What `tracer doctor` asks the database: does it take writes, has it what the loop needs."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import psycopg

from reconciler.contract.column_types import ContractTable
from reconciler.contract.database import Connection, Row, check_revision, connect, place
from reconciler.contract.errors import BadInput, Unreachable, WrongSchema
from reconciler.contract.grants import CONDUCTOR, GRANTS, OPERATOR, RESULTS, ROLES, WORKER
from reconciler.contract.results import RESULTS_SCHEMA
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import database_url
from reconciler.operator.diagnosis.doctor import Check, Fault, Tables, command_in
from reconciler.operator.diagnosis.explain import UPGRADE
from reconciler.operator.diagnosis.read_only import impatient, looking
from reconciler.operator.diagnosis.rules.in_flight import SYNC
from reconciler.operator.sql import health

VARIABLE = re.compile(r"\b(?:TRACER_[A-Z_]+|DATABASE_URL)\b")
GRANT = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")
ROLE_URLS = "tracer db roles --urls roles.env"
OTHER_URL = "export DATABASE_URL='postgresql://USER:PASSWORD@HOST:5432/DATABASE'"
Columns = Mapping[str, Iterable[str]]


def _settings() -> str:
    try:
        settings = load_settings()
    except BadInput as error:
        names = " ".join(VARIABLE.findall(str(error)))
        raise Fault(str(error), f"unset {names}") from error
    return f"workers: {settings.workers}, home: {settings.home}"


def _database() -> str:
    url = database_url(load_settings())
    try:
        connection = connect(url)
    except (BadInput, Unreachable) as error:
        raise Fault(str(error), command_in(str(error)) or OTHER_URL) from error
    with connection:
        row = connection.execute(health.WRITES).fetchone() or {}
        version, role = connection.info.server_version, connection.info.user
    if row["copy"]:
        raise Fault(f"{place(url)} is a copy that follows another server", OTHER_URL)
    if row["read_only"] == "on":
        raise Fault(
            f"{place(url)} takes no writes: default_transaction_read_only is on; hosts set it when "
            "the disk is full",
            "psql \"$DATABASE_URL\" -c 'SHOW default_transaction_read_only'",
        )
    return f"{place(url)}, Postgres {version // 10000}, as {role}"


def _schema() -> str:
    with connect(database_url(load_settings())) as connection:
        try:
            with impatient(connection):
                check_revision(connection)
        except WrongSchema as error:
            says = str(error).partition(": run")[0].rstrip(".")
            raise Fault(says, UPGRADE if (error.found or "") < error.needed else None) from error
        found = columns(connection, None)
    wanted = {name: table.columns.keys() for name, table in ContractTable.metadata.tables.items()}
    if missing := list(lacking(wanted, found)):
        raise Fault(f"The database lacks {', '.join(missing)}: restore it from a backup", None)
    return "at the revision that this Tracer needs"


def _role() -> str:
    with connect(database_url(load_settings())) as connection:
        who = connection.execute(health.WHO, {"roles": list(ROLES)}).fetchone() or {}
        me = who["me"]
        tables = [] if me == CONDUCTOR else list(columns(connection, RESULTS_SCHEMA))
        if me not in ROLES and not who["owner"]:
            _check_grants(connection, me, OPERATOR, tables, partly=False, fix=ROLE_URLS)
        for role in who["roles"] if me != CONDUCTOR else [me]:
            _check_grants(connection, role, role, tables, partly=role != me)
    if me == WORKER:
        raise Fault(f"{me} may work rows, and neither tick nor look at the rest", ROLE_URLS)
    may = {CONDUCTOR: "may tick", OPERATOR: "may look and steer; ticks need another role"}
    return f"{me} {may.get(me, 'owns the tables' if who['owner'] else 'may look and steer')}"


def _check_grants(
    connection: Connection,
    role: str,
    like: str,
    tables: list[str],
    *,
    partly: bool,
    fix: str = "tracer db roles",
) -> None:
    """Refuse a role that lacks what `like` needs; `partly` only where it has some of it."""
    asked = list(_asked(like, tables))
    named = dict(zip(("tables", "privileges", "columns"), zip(*asked, strict=True), strict=True))
    values = {name: list(given) for name, given in named.items()}
    try:
        row = connection.execute(health.LACKING, {"role": role, **values}).fetchone()
    except psycopg.errors.InsufficientPrivilege as error:  # to look into a schema at all
        raise Fault(f"{role}: {error.diag.message_primary}", fix) from error
    if row and row["lacking"] and (row["held"] or not partly):
        raise Fault(f"{role} lacks {', '.join(row['lacking'][:5])}", fix)


def _asked(role: str, tables: list[str]) -> Iterator[tuple[str, str, str]]:
    """Table, privilege and columns of all that the role needs; no columns for the whole table."""
    grants = {name: per_role[role] for name, per_role in GRANTS.items()}
    results = {f"{RESULTS_SCHEMA}.{name}": RESULTS.get(role, "") for name in tables}
    for name, grant in (grants | results).items():
        for privilege, of in GRANT.findall(grant):
            yield name, privilege, of


def _steps(known: Tables) -> str:
    with looking() as store:
        registered = {row["step_name"] for row in store.steps()}
    if missing := sorted(set(known()) - registered):
        raise Fault(f"Not registered: {', '.join(missing)}", SYNC)
    gone = sorted(registered - set(known()))
    here = f"{len(known())} registered"
    return f"{here}; registered without code here: {', '.join(gone)}" if gone else here


def _tables(known: Tables) -> str:
    wanted = {str(table.__tablename__): list(table.model_fields) for table in known().values()}
    with connect(database_url(load_settings())) as connection:
        found = columns(connection, RESULTS_SCHEMA)
    if missing := [f"{RESULTS_SCHEMA}.{name}" for name in lacking(wanted, found)]:
        raise Fault(f"The database lacks {', '.join(missing)}", SYNC)
    return f"a table for each of {len(wanted)} steps"


def _batches(known: Tables) -> str:
    with looking() as store:
        needed = store.rows(health.NEEDED)
    here = set(known()) if load_settings().workers == "local" else None
    for row in needed:
        if found := _unmet(row, here):
            says, fix = found
            raise Fault(f"{says}, and {_running(row['batches'])} it", fix)
    return f"the steps of running batches: {', '.join(r['step'] for r in needed) or 'none'}"


def _running(batches: int) -> str:
    return "a running batch needs" if batches == 1 else f"{batches} running batches need"


def _unmet(row: Row, here: set[str] | None) -> tuple[str, str] | None:
    """Why the step is never worked, and the command that fixes it."""
    step = row["step"]
    if not row["registered"]:
        return f"{step} is not registered", SYNC
    if not row["enabled"]:
        return f"{step} is disabled", f"tracer steps set {step} enabled=true"
    if not row["max_in_flight"]:
        return f"{step} has max_in_flight 0", f"tracer steps set {step} max_in_flight=1000"
    if here is not None and step not in here:
        return f"workers/steps/ here has no {step}", "git status workers/steps"
    return None


def columns(connection: Connection, schema: str | None) -> dict[str, list[str]]:
    """The columns of the tables of a schema, by default of the contract's."""
    found = connection.execute(health.COLUMNS, {"schema": schema})
    return {row["table"]: row["columns"] for row in found}


def lacking(wanted: Columns, found: Columns) -> Iterator[str]:
    """The tables and columns that are wanted and not there."""
    for table, names in wanted.items():
        if table not in found:
            yield table
        else:
            yield from (f"{table}.{name}" for name in names if name not in found[table])


def checks(known: Tables) -> dict[str, Check]:
    """What is asked of the database; `known` are the steps whose code is here."""
    return {
        "settings": _settings,
        "database": _database,
        "schema": _schema,
        "role": _role,
        "steps": partial(_steps, known),
        "tables": partial(_tables, known),
        "batches": partial(_batches, known),
    }
