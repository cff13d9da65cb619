"""Makes the roles and fixes what they may; `db roles` and every `steps sync` come here."""

from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import sql

from reconciler.contract import grants as queries
from reconciler.contract.database import Connection, Row, check_revision, connect, explain_denial
from reconciler.contract.errors import GRANT, NotAllowed, WorkFailed
from reconciler.contract.grants import OPERATOR, ROLES
from reconciler.contract.results import RESULTS_SCHEMA


def make_roles(connection: Connection) -> list[str]:
    """Make the roles that are not there, and fix what all may; returns those that were made.

    Raises:
        BadInput: the schema is not the one that this code knows, or not the user's, who may also
            not be allowed to make roles.
        WorkFailed: see `grant_all`.
    """
    with explain_denial(connection.info.user):
        check_revision(connection)
    owner = ownership(connection)
    if not owner["mine"]:
        raise NotAllowed(
            f"The role {owner['me']} may not grant here. As {owner['owner']}, which owns the "
            "tables, grant it.",
            GRANT,
        )
    there = present(connection)
    made = [role for role in ROLES if role not in there]
    try:
        for role in made:
            connection.execute(_filled(queries.MAKE_ROLE, role=role))
    except psycopg.errors.InsufficientPrivilege as error:
        wanted = "; ".join(f"CREATE ROLE {role} LOGIN" for role in made)
        raise NotAllowed(
            f"The role {owner['me']} may not make roles. Have one that may run `{wanted}`, then "
            "grant.",
            GRANT,
        ) from error
    grant_all(connection, owner)
    return made


def sync_roles(url: str) -> None:
    """Grant what new tables and columns need, where the roles are there and the tables ours."""
    with connect(url) as connection:
        owner = ownership(connection)
        if owner["mine"] and present(connection) == set(ROLES):
            grant_all(connection, owner)


def ownership(connection: Connection) -> Row:
    """Who this is, who owns the contract's tables, and where they are."""
    row = connection.execute(queries.OWNERSHIP).fetchone()
    assert row is not None  # the schema's revision has been looked at
    return row


def present(connection: Connection) -> set[str]:
    """Those of the roles that are there."""
    return {
        row["role"] for row in connection.execute(queries.EXISTING_ROLES, {"roles": list(ROLES)})
    }


def grant_all(connection: Connection, owner: Row) -> None:
    """Grant what `queries.roles` says and nothing else, in one transaction: there is no gap.

    Raises:
        WorkFailed: a statement that runs for long keeps the policies from being made.
        BadInput: a table of the contract is not the user's.
    """
    found = connection.execute(queries.DOMAIN_TABLES, {"schema": RESULTS_SCHEMA})
    statements = grants(owner["schema"], owner["database"], [row["name"] for row in found])
    with explain_denial(connection.info.user), connection.transaction():
        connection.execute(queries.ROLES_TURN)
        connection.execute(sql.SQL(";\n").join(statements))
        try:
            secure(connection)
        except psycopg.errors.LockNotAvailable as error:
            raise WorkFailed(
                "Nothing was granted, since something is reading workflow_states, perhaps an "
                "export. Grant again when it is done.",
                GRANT,
            ) from error


def grants(schema: str, database: str, domain_tables: Sequence[str]) -> Iterator[sql.Composed]:
    """The statements after which every role may do what it needs, and of our tables no more."""
    yield _filled(queries.GRANT_CONNECT, database=database, roles=ROLES)
    yield _filled(queries.GRANT_TEMPORARY, database=database, role=OPERATOR)
    yield _filled(queries.GRANT_SCHEMA, schema=schema, roles=ROLES)
    yield _filled(queries.GRANT_SCHEMA, schema=RESULTS_SCHEMA, roles=tuple(queries.RESULTS))
    for table, per_role in queries.GRANTS.items():
        yield from _table((schema, table), per_role)
    for table in domain_tables:
        yield from _table((RESULTS_SCHEMA, table), queries.RESULTS)
    for name, role in queries.SEQUENCES.items():
        yield _filled(queries.REVOKE_SEQUENCE, roles=ROLES, sequence=sql.Identifier(schema, name))
        yield _filled(queries.GRANT_SEQUENCE, role=role, sequence=sql.Identifier(schema, name))


def _table(name: tuple[str, str], per_role: Mapping[str, str]) -> Iterator[sql.Composed]:
    table = sql.Identifier(*name)
    yield _filled(queries.REVOKE, table=table, roles=ROLES)
    for role, privileges in per_role.items():
        if privileges:
            yield _filled(queries.GRANT, table=table, role=role, privileges=sql.SQL(privileges))


def _filled(query: str, **parts: str | Sequence[str] | sql.Composable) -> sql.Composed:
    """`query` with names as quoted identifiers, several of them as a list."""
    return sql.SQL(query).format(**{name: _quoted(part) for name, part in parts.items()})


def _quoted(part: str | Sequence[str] | sql.Composable) -> sql.Composable:
    if isinstance(part, str):
        return sql.Identifier(part)
    if isinstance(part, sql.Composable):
        return part
    return sql.SQL(", ").join(map(sql.Identifier, part))


def secure(connection: Connection) -> None:
    """Have the policies there as they should be; where they are, nothing waits for anything.

    Raises:
        psycopg.errors.LockNotAvailable: a statement on the table did not end in time.
    """
    row = connection.execute(queries.SECURED).fetchone()
    found = {row["name"]: row["text"] for row in connection.execute(queries.POLICIES_FOUND)}
    connection.execute(queries.POLICY_WAIT)
    for name, text in queries.POLICIES.items():
        if found.get(name) != text:
            policy = sql.Identifier(name)
            connection.execute(sql.SQL(queries.DROP_POLICY).format(name=policy))
            make = sql.SQL(queries.MAKE_POLICY).format(name=policy, text=sql.SQL(text))
            connection.execute(make)
    if row and not row["secured"]:
        connection.execute(queries.SECURE)


def shortcomings(connection: Connection) -> list[str]:
    """What is not as it should be for a reason that grants do not reach, a sentence each."""
    owner = ownership(connection)
    values = {"roles": list(ROLES), "operator": OPERATOR, "schema": owner["schema"]}
    missing = connection.execute(queries.MISSING, values).fetchall()
    tables = [f"{owner['schema']}.{table}" for table in queries.GRANTS]
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
            f"{row['role']} may {', '.join(row['privileges'])} {row['tables']} without our "
            "granting it: by PUBLIC, a membership or an attribute of the role. Take that away."
            for row in beyond
        ),
    ]
