"""Why a connection to Postgres failed, and what to do about it."""

import re
from shlex import quote

import psycopg

from reconciler.contract.errors import GRANT

Advice = tuple[str, str | None]  # a sentence, and the command to run if there is one

START: Advice = (
    "Start it, or set DATABASE_URL (without it, Tracer runs a Postgres of its own).",
    None,
)
CERTIFICATE: Advice = (
    "In DATABASE_URL, name the host as its certificate does, and set sslrootcert to the file of "
    "the authority that signed it.",
    None,
)
HOST: Advice = "Check the host in DATABASE_URL.", None
USER: Advice = (
    "Check user and password in DATABASE_URL. As the database's owner, you can give Tracer's roles "
    "new passwords.",
    f"{GRANT} --urls roles.env",
)
ENTRY: Advice = (
    "Allow this connection in the server's pg_hba.conf, or add sslmode=require to DATABASE_URL.",
    None,
)
FULL: Advice = (
    "Wait until other connections have ended, raise max_connections, or use a pooler.",
    None,
)
BUSY: Advice = "Wait a moment and run the command again.", None
SETTING: Advice = "Fix it in DATABASE_URL, or in the environment: PGTZ, PGOPTIONS.", None
ANSWERED: Advice = (
    "The server answers: check user, password and database in DATABASE_URL.",
    None,
)

# Words in libpq's message, and the advice for them; the first match counts. libpq has no code for
# the reason of a refusal.
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


def refusal(error: psycopg.Error) -> Advice:
    """libpq's reason, without the host and port before it, with the advice for it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    answer = next((line for line in lines if "FATAL: " in line), None)
    reason = (answer or lines[0]).rpartition("failed: ")[2].replace("FATAL:  ", "").strip()
    says, fix = advice(reason, answered=answer is not None)
    return f"{reason.rstrip('.')}. {says}", fix


def advice(reason: str, answered: bool) -> Advice:
    """What to do about it; `answered`: a server answered, and refused."""
    if missing := NO_DATABASE.search(reason):
        return (
            "Name another one in DATABASE_URL, or create it.",
            f"createdb {quote(missing[1])}",
        )
    if NO_ROLE.search(reason):
        return USER
    known = (what for words, what in ADVICE if words in reason)
    return next(known, ANSWERED if answered else START)
