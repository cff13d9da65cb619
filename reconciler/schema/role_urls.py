"""The roles' passwords, and the URLs that hold them: they go to one file, and nowhere else."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reconciler.contract import grants as queries
from reconciler.contract.database import Connection, explain_denial, libpq_url
from reconciler.contract.errors import BadInput
from reconciler.contract.grants import ROLES
from reconciler.schema.roles import ownership

PASSWORD_BYTES = 24
PLAINTEXT_ONLY = "plaintext passwords"  # what Neon says, which hashes them itself
STDOUT = "-"


def set_passwords(connection: Connection) -> dict[str, str]:
    """Give every role a new password; returns them.

    Raises:
        BadInput: the user may not, since someone else made the roles.
    """
    made = {role: secrets.token_urlsafe(PASSWORD_BYTES) for role in ROLES}
    with explain_denial(connection.info.user, "the role that made Tracer's roles"):
        for role, password in made.items():
            _set_password(connection, role, password)
    return made


def _set_password(connection: Connection, role: str, password: str) -> None:
    """Only its verifier is sent, since a server may write statements to its log."""
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    try:
        connection.execute(_statement(role, verifier))
    except psycopg.InternalError as error:
        if PLAINTEXT_ONLY not in str(error):
            raise
        connection.execute(_statement(role, password))


def _statement(role: str, password: str) -> sql.Composed:
    parts = {"role": sql.Identifier(role), "password": sql.Literal(password)}
    return sql.SQL(queries.SET_PASSWORD).format(**parts)


def role_url(url: str, me: str, role: str, password: str) -> str:
    """`url`, which is of the user `me`, as `role` gives it.

    A pooler that serves many projects has the user's name followed by the project's: that stays.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(libpq_url(url)).items()}
    given = parts.pop("user", "")
    suffix = given.removeprefix(me) if given.startswith(f"{me}.") else ""
    for name in ("password", "passfile", "sslcert", "sslkey", "sslpassword"):
        parts.pop(name, None)
    host, port, database = (parts.pop(name, "") for name in ("host", "port", "dbname"))
    if host.startswith(("/", "@")) or "," in host:
        parts = {"host": host, **({"port": port} if port else {}), **parts}
        host = port = ""
    place = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
    who = f"{quote(role + suffix, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{who}@{place}{f':{port}' if port else ''}/{quote(database)}{query}"


def urls_of(connection: Connection, url: str, passwords: Mapping[str, str]) -> str:
    """A line per role, as a shell and a .env file have them."""
    me = ownership(connection)["me"]
    return "".join(
        f"{role.removeprefix('tracer_').upper()}_DATABASE_URL="
        f"'{role_url(url, me, role, password)}'\n"
        for role, password in passwords.items()
    )


@contextmanager
def open_urls(path: str | None) -> Iterator[Callable[[str], object] | None]:
    """What writes the URLs to `path`, which only its owner can read; None where there is none.

    Raises:
        BadInput: it cannot be written; said before anything is changed.
    """
    if path is None or path == STDOUT:
        yield sys.stdout.write if path else None
        return
    whole = Path(path)
    part = whole.with_name(f".{whole.name}.part")
    try:
        part.unlink(missing_ok=True)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"Cannot write {path}: {error.strerror}.") from error
    try:
        with os.fdopen(file, "w") as open_file:
            yield open_file.write
        if part.stat().st_size:
            part.replace(whole)
    finally:
        part.unlink(missing_ok=True)
