"""From the environment to an open store."""

import getpass
import os

from reconciler.contract.errors import BadInput
from reconciler.contract.settings import Settings, load_settings
from reconciler.local.postgres.install import locate
from reconciler.local.postgres.supervisor import acquire
from reconciler.operator.store import OperatorStore


def database_url(settings: Settings) -> str:
    """DATABASE_URL, else the embedded Postgres of this TRACER_HOME, started when needed."""
    return settings.database_url or acquire(settings.home)


def existing_database_url(settings: Settings) -> str:
    """`database_url`, for a command that only reads: it makes no database.

    Raises:
        BadInput: there is no database of this home yet.
    """
    home = settings.home.resolve()
    if not settings.database_url and not (home.exists() and locate(home).data.exists()):
        raise BadInput(
            f"There is no Tracer in {settings.home}. Change to where yours is, set TRACER_HOME or "
            "DATABASE_URL, or make one here.",
            "tracer up",
        )
    return database_url(settings)


def operator(kind: type[OperatorStore] = OperatorStore) -> OperatorStore:
    """An open store; use it as a context manager.

    Raises:
        Unreachable: no database answers.
        BadInput: its schema is missing, older or newer; or there is no database of this home yet.
    """
    store = kind.connect(existing_database_url(load_settings()))
    store.who = user()
    return store


def user() -> str:
    """Who speaks, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"uid {os.getuid()}"
