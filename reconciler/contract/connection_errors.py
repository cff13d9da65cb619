"""Why a connection to Postgres did not come about, and what to do about it."""

import re
from shlex import quote

import psycopg

START = "Start it, or set DATABASE_URL (without it, Tracer runs a Postgres of its own)."
CERTIFICATE = (
    "Give in DATABASE_URL the host as its certificate has it, and as sslrootcert the file of the "
    "authority that signed it."
)
HOST = "Check the host in DATABASE_URL."
USER = (
    "Check user and password in DATABASE_URL; `tracer db roles --urls FILE`, run as the owner, "
    "gives Tracer's roles new passwords."
)
DATABASE = "Create it (`createdb {name}`), or name another one in DATABASE_URL."
ENTRY = "Have its pg_hba.conf take this connection, or add sslmode=require to DATABASE_URL."
FULL = "Wait until others have left, raise max_connections, or put a pooler between."
BUSY = "Wait a moment and run the command again."
SETTING = "Fix it in DATABASE_URL, or in the environment: PGTZ, PGOPTIONS."
ANSWERED = "The server answers: check user, password and database in DATABASE_URL."

# The first whose words are in what libpq says: it has no code for what a server refuses with.
ADVICE = (
    ("certificate", CERTIFICATE),
    ("could not translate host name", HOST),
    ("password", USER),
    ("authentication failed", USER),
    ("no pg_hba.conf entry", ENTRY),
    ("too many", FULL),
    ("remaining connection slots", FULL),
    ("starting up", BUSY),
    ("shutting down", BUSY),
    ("recovery", BUSY),
    ("invalid value for parameter", SETTING),
)
NO_DATABASE = re.compile(r'database "(.+)" does not exist')
NO_ROLE = re.compile(r'role "(.+)" does not exist')


def refusal(error: psycopg.Error) -> str:
    """What libpq says was wrong, without the host and port that stand before it, and what to do."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    answer = next((line for line in lines if "FATAL: " in line), None)
    reason = (answer or lines[0]).rpartition("failed: ")[2].replace("FATAL:  ", "").strip()
    return f"{reason.rstrip('.')}. {advice(reason, answered=answer is not None)}"


def advice(reason: str, answered: bool) -> str:
    """What to do about it; `answered` says that a server was there, and refused."""
    if missing := NO_DATABASE.search(reason):
        return DATABASE.format(name=quote(missing[1]))
    if NO_ROLE.search(reason):
        return USER
    known = (fix for words, fix in ADVICE if words in reason)
    return next(known, ANSWERED if answered else START)
