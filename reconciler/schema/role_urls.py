"""The roles' passwords, and URLs with them: they are written to one file, and nowhere else."""

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
from reconciler.contract.database import Connection
from reconciler.contract.database_url import libpq_url
from reconciler.contract.denial import explain_denial
from reconciler.contract.errors import BadInput
from reconciler.contract.grants import ROLES
from reconciler.schema.roles import ownership

PASSWORD_BYTES = 24
PLAINTEXT_ONLY = "plaintext passwords"  # in Neon's error: Neon hashes passwords itself
STDOUT = "-"


def set_passwords(connection: Connection) -> dict[str, str]:
    """Give every role a new password; returns the passwords by role.

    Raises:
        BadInput: the user may not do this, because another role made the roles.
    """
    made = {role: secrets.token_urlsafe(PASSWORD_BYTES) for role in ROLES}
    with explain_denial(connection.info.user, "the role that made Tracer's roles"):
        for role, password in made.items():
            _set_password(connection, role, password)
    return made


def _set_password(connection: Connection, role: str, password: str) -> None:
    """Send only the password's verifier, because a server may log statements."""
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


def role_url(url: str, user: str, role: str, password: str) -> str:
    """The URL for `role`, from `url`, which the role `user` connects with.

    A pooler for many projects has URLs with `user.project`: the project stays in the URL.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(libpq_url(url)).items()}
    given = parts.pop("user", "")
    suffix = given.removeprefix(user) if given.startswith(f"{user}.") else ""
    for name in ("password", "passfile", "sslcert", "sslkey", "sslpassword"):
        parts.pop(name, None)
    host, port, database = (parts.pop(name, "") for name in ("host", "port", "dbname"))
    if host.startswith(("/", "@")) or "," in host:
        parts = {"host": host, **({"port": port} if port else {}), **parts}
        host = port = ""
    address = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
    login = f"{quote(role + suffix, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{login}@{address}{f':{port}' if port else ''}/{quote(database)}{query}"


def urls_of(connection: Connection, url: str, passwords: Mapping[str, str]) -> str:
    """A line NAME='URL' per role, for a shell or a .env file."""
    user = ownership(connection)["me"]
    return "".join(
        f"{role.removeprefix('tracer_').upper()}_DATABASE_URL="
        f"'{role_url(url, user, role, password)}'\n"
        for role, password in passwords.items()
    )


@contextmanager
def open_urls(path: str | None) -> Iterator[Callable[[str], object] | None]:
    """Open `path` for the URLs; gives a function that writes to it, None without a path.

    Only the file's owner can read it. It appears at the end of the block, if something was written.

    Raises:
        BadInput: the file cannot be written; raised before anything is changed.
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
