"""DATABASE_URL as libpq takes it; what is wrong with it is said without showing a password."""

import logging
import re
import unicodedata
from functools import cache

import psycopg
from psycopg.conninfo import conninfo_to_dict

from reconciler.contract.errors import BadInput

log = logging.getLogger("tracer.database")

# An unencoded special character ends the password early. The rest is then read as host, port or
# database, and messages name those: a part of the password would be shown.
NOT_A_URL = (
    "DATABASE_URL is not a Postgres URL or connection string. Write special characters of the user "
    "and the password percent-encoded: @ is %40, / is %2F, a space is %20."
)
# A second @ before the query: the password has an unencoded one.
UNENCODED_AT = re.compile(r"postgres(ql)?(\+\w+)?://([^/?]*@[^/?]*@|[^?]*/[^?]*@)")
UNKNOWN = re.compile(r'invalid URI query parameter: "([\w.-]{1,40})"')
QUOTES = "\"'`\u201c\u201d\u2018\u2019"
# Parameters that other programs read and libpq refuses: they size pools and caches that Tracer does
# not have, or name what it finds out by itself.
FOREIGN = frozenset(
    {
        # Prisma, and Supabase in its strings for it
        *("pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size"),
        "socket_timeout",
        # SQLAlchemy and asyncpg
        *("prepared_statement_cache_size", "command_timeout", "pool_size", "max_overflow"),
        # Go's pgx
        *("pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time"),
        *("pool_health_check_period", "statement_cache_capacity", "default_query_exec_mode"),
        # Rails, Django, node
        *("pool", "prepared_statements", "reaping_frequency", "conn_max_age", "uselibpqcompat"),
        # JDBC
        *("prepareThreshold", "preferQueryMode", "reWriteBatchedInserts", "loginTimeout"),
        *("socketTimeout", "tcpKeepAlive", "ApplicationName"),
    }
)
# These name the schema, for Prisma, JDBC and pgx.
SCHEMA = ("schema", "currentSchema", "search_path")
PUBLIC = "public"


def libpq_url(url: str) -> str:
    """`url` for libpq; accepts SQLAlchemy's `postgresql+psycopg://` too.

    Parameters of other programs are left out; the log says so, once.

    Raises:
        BadInput: it has a character at an end that is none of its own, or names another schema.
    """
    _check_ends(url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    head, mark, query = rest.partition("?")
    if "@" not in query:  # else an unencoded ? begins a part of the password
        given = [part.partition("=") for part in query.split("&")]
        _check_schema({name: value for name, _, value in given})
        left_out = [name for name, *_ in given if name in FOREIGN or name in SCHEMA]
        kept = ["".join(part) for part in given if part[0] not in left_out]
        mark, query = mark if any(kept) else "", "&".join(kept)
        _say_left_out(tuple(left_out))
    scheme = "postgresql" if "+" in scheme else scheme
    return f"{scheme}://{head}{mark}{query}"


def location(url: str) -> str:
    """The database and host of `url`, for messages; never a password.

    Raises:
        BadInput: `url` is not a URL, or its host may be a part of an unencoded password.
    """
    try:
        parts = conninfo_to_dict(libpq_url(url))
    except (psycopg.ProgrammingError, UnicodeDecodeError) as error:
        # Without the cause: the error quotes the URL, and a traceback would show it.
        raise BadInput(_unreadable(url, str(error))) from None
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    name, port = parts.get("dbname") or "of the default name", parts.get("port") or 5432
    if not re.fullmatch(r"[\d,]+", str(port)) or UNENCODED_AT.match(url):
        raise BadInput(NOT_A_URL)
    return f"database {name} at {host}:{port}"


def _unreadable(url: str, reason: str) -> str:
    # A parameter's name may be a part of a password that has an unencoded ? or blank.
    query, unknown = url.partition("?")[2], UNKNOWN.search(reason)
    if not (unknown and query) or "@" in query or UNENCODED_AT.match(url):
        return NOT_A_URL
    return f"DATABASE_URL has a parameter that Postgres does not know: take {unknown[1]} out."


def _check_ends(url: str) -> None:
    """Refuse what a shell, a file or a form has left around the URL, and name it."""
    ends = [("begins", url[:1])]
    if "://" in url:  # a connection string may end with a quote
        ends.append(("ends", url[-1:]))
    for verb, character in ends:
        if character in QUOTES and character:
            raise BadInput(f"DATABASE_URL {verb} with a quote ({character}): take the quotes out.")
        if character.isspace() or unicodedata.category(character or "x") in ("Cc", "Cf"):
            raise BadInput(f"DATABASE_URL {verb} with {_named(character)}: take that out.")


def _named(character: str) -> str:
    if character in "\r\n":
        return "a line break"
    name = unicodedata.name(character, "").lower()
    return f"a {name}" if name else f"the character U+{ord(character):04X}"


def _check_schema(given: dict[str, str]) -> None:
    """Refuse another schema than the usual one: to leave it out would use the wrong tables."""
    for name in SCHEMA:
        schema = given.get(name, PUBLIC)
        if schema != PUBLIC:
            raise BadInput(
                f"DATABASE_URL has {name}={schema}, which Postgres does not know. Give the role "
                f"that schema instead: ALTER ROLE … SET search_path = {schema}. Then take "
                f"{name} out."
            )


@cache
def _say_left_out(names: tuple[str, ...]) -> None:
    if names:
        few = len(names) == 1
        log.warning(
            "DATABASE_URL: %s %s for another program, and left out here.",
            ", ".join(names),
            "is" if few else "are",
        )
