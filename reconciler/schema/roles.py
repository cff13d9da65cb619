"""Makes the roles and grants their privileges, for `tracer db roles` and `tracer steps sync`."""

import re
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import sql

from reconciler.contract import grants as queries
from reconciler.contract.database import Connection, Row, connect
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import GRANT, NotAllowed, WorkFailed
from reconciler.contract.grants import OPERATOR, ROLES
from reconciler.contract.results import RESULTS_SCHEMA
from reconciler.contract.revision import check_revision
from reconciler.contract.session import LIFT

PLAIN = re.compile("[a-z_][a-z0-9_]*")


def make_roles(connection: Connection) -> list[str]:
    """Make missing roles, and grant all privileges; returns the roles that were made.

    Raises:
        BadInput: the schema has another revision than this code; or the user does not own the
            tables, or may not make roles.
        WorkFailed: see `grant_all`.
    """
    with explain_denial(connection.info.user):
        check_revision(connection)
    owner = ownership(connection)
    if not owner["mine"]:
        raise NotAllowed(
            f"The role {owner['me']} may not grant here. Grant as {owner['owner']}, which owns the "
            "tables.",
            GRANT,
        )
    existing = existing_roles(connection)
    made = [role for role in ROLES if role not in existing]
    try:
        for role in made:
            connection.execute(_filled(queries.MAKE_ROLE, role=role))
    except psycopg.errors.InsufficientPrivilege as error:
        wanted = "; ".join(f"CREATE ROLE {role} LOGIN" for role in made)
        raise NotAllowed(
            f"The role {owner['me']} may not make roles. Run `{wanted}` as a role that may, then "
            "grant.",
            GRANT,
        ) from error
    grant_all(connection, owner)
    if owner["schema"] != queries.PUBLIC:
        _set_schema(connection, owner)
    return made


def _set_schema(connection: Connection, owner: Row) -> None:
    """Let the roles find the owner's schema, which may be in that role's settings alone.

    Raises:
        NotAllowed: another role made the roles.
    """
    names = {"database": owner["database"], "schema": owner["schema"], "public": queries.PUBLIC}
    with explain_denial(connection.info.user, "the role that made Tracer's roles"):
        for role in ROLES:
            connection.execute(_filled(queries.SET_SCHEMA, role=role, **names))


def sync_roles(url: str) -> None:
    """Grant privileges on new tables and columns, if the user owns them and all roles exist."""
    with connect(url) as connection:
        owner = ownership(connection)
        if owner["mine"] and existing_roles(connection) == set(ROLES):
            grant_all(connection, owner)


def ownership(connection: Connection) -> Row:
    """The current role, the owner of the contract's tables, and their schema and database."""
    row = connection.execute(queries.OWNERSHIP).fetchone()
    assert row is not None  # the caller has checked the schema's revision
    return row


def existing_roles(connection: Connection) -> set[str]:
    """Those of Tracer's roles that exist."""
    return {
        row["role"] for row in connection.execute(queries.EXISTING_ROLES, {"roles": list(ROLES)})
    }


def grant_all(connection: Connection, owner: Row) -> None:
    """Grant the privileges of `contract.grants`, and revoke all others, in one transaction.

    Raises:
        WorkFailed: the policies could not be made, because a long statement uses the table.
        BadInput: the user does not own a table of the contract.
    """
    asked = {"schema": RESULTS_SCHEMA, "special": list(queries.SPECIAL)}
    found = connection.execute(queries.DOMAIN_TABLES, asked)
    statements = grants(owner["schema"], owner["database"], [row["name"] for row in found])
    with explain_denial(connection.info.user), connection.transaction():
        connection.execute(LIFT)
        connection.execute(queries.ROLES_TURN)
        connection.execute(sql.SQL(";\n").join(statements))
        try:
            secure(connection)
        except psycopg.errors.LockNotAvailable as error:
            raise WorkFailed(
                "No rights were changed: another statement reads workflow_states, perhaps an "
                "export. Grant again when it has ended.",
                GRANT,
            ) from error


def grants(schema: str, database: str, domain_tables: Sequence[str]) -> Iterator[sql.Composed]:
    """The statements that give each role its privileges, and no others on Tracer's tables."""
    yield _filled(queries.GRANT_CONNECT, database=database, roles=ROLES)
    yield _filled(queries.GRANT_TEMPORARY, database=database, role=OPERATOR)
    yield _filled(queries.GRANT_SCHEMA, schema=schema, roles=ROLES)
    yield _filled(queries.GRANT_SCHEMA, schema=RESULTS_SCHEMA, roles=tuple(queries.RESULTS))
    for table, per_role in (queries.GRANTS | queries.VIEWS).items():
        yield from _table((schema, table), per_role)
    results = {**dict.fromkeys(domain_tables, queries.RESULTS), **queries.SPECIAL}
    for table, per_role in results.items():
        yield from _table((RESULTS_SCHEMA, table), per_role)
    for name, role in queries.SEQUENCES.items():
        yield _filled(queries.REVOKE_SEQUENCE, roles=ROLES, sequence=sql.Identifier(schema, name))
        yield _filled(queries.GRANT_SEQUENCE, role=role, sequence=sql.Identifier(schema, name))
    for name, role in queries.FUNCTIONS.items():
        yield _filled(queries.REVOKE_FUNCTION, roles=ROLES, function=sql.Identifier(schema, name))
        yield _filled(queries.GRANT_FUNCTION, role=role, function=sql.Identifier(schema, name))


def _table(name: tuple[str, str], per_role: Mapping[str, str]) -> Iterator[sql.Composed]:
    table = sql.Identifier(*name)
    yield _filled(queries.REVOKE, table=table, roles=ROLES)
    for role, privileges in per_role.items():
        if privileges:
            yield _filled(queries.GRANT, table=table, role=role, privileges=sql.SQL(privileges))


def _filled(query: str, **parts: str | Sequence[str] | sql.Composable) -> sql.Composed:
    """`query` with its names filled in as quoted identifiers; several names become a list."""
    return sql.SQL(query).format(**{name: _quoted(part) for name, part in parts.items()})


def _quoted(part: str | Sequence[str] | sql.Composable) -> sql.Composable:
    if isinstance(part, str):
        return sql.Identifier(part)
    if isinstance(part, sql.Composable):
        return part
    return sql.SQL(", ").join(map(sql.Identifier, part))


def secure(connection: Connection) -> None:
    """Make or replace the policies that are missing or different; if there are none, do not wait.

    Raises:
        psycopg.errors.LockNotAvailable: another statement on the table did not end in time.
    """
    connection.execute(queries.POLICY_WAIT)
    for table, policies in queries.POLICIES.items():
        _secure(connection, table, policies)


def _secure(connection: Connection, table: str, policies: Mapping[str, str]) -> None:
    asked = {"table": table}
    row = connection.execute(queries.SECURED, asked).fetchone()
    there = connection.execute(queries.POLICIES_FOUND, asked)
    found = {policy["name"]: policy["text"] for policy in there}
    for name, text in policies.items():
        if found.get(name) != text:
            connection.execute(_filled(queries.DROP_POLICY, name=name, table=table))
            made = _filled(queries.MAKE_POLICY, name=name, table=table, text=sql.SQL(text))
            connection.execute(made)
    if row and not row["secured"]:
        connection.execute(_filled(queries.SECURE, table=table))


def _as_typed(name: str) -> str:
    """A name as a person types it: quoted only if it must be."""
    return name if PLAIN.fullmatch(name) else sql.Identifier(name).as_string()


def shortcomings(connection: Connection) -> list[str]:
    """A sentence for each wrong privilege that `grant_all` cannot fix."""
    owner = ownership(connection)
    values = {"roles": list(ROLES), "operator": OPERATOR, "schema": owner["schema"]}
    missing = connection.execute(queries.MISSING, values).fetchall()
    ours = queries.GRANTS | queries.VIEWS
    tables = [f"{_as_typed(owner['schema'])}.{table}" for table in ours]
    beyond = connection.execute(
        queries.SURPLUS, {"roles": list(ROLES), "tables": tables}
    ).fetchall()
    return [
        *(
            f"{row['role']} lacks {row['privilege']} on {row['kind']} {row['name']}: its owner "
            "can grant it."
            for row in missing
        ),
        *(
            f"{row['role']} may {', '.join(row['privileges'])} {row['tables']} without a grant by "
            "Tracer: by PUBLIC, a membership or an attribute of the role. Revoke that."
            for row in beyond
        ),
    ]
