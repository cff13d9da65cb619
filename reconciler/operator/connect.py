"""Opens the operator's store on the database that the settings name."""

import getpass
import os

from reconciler.contract.database_url import libpq_url
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import Settings, load_settings
from reconciler.local.postgres.install import locate
from reconciler.local.postgres.supervisor import acquire
from reconciler.operator.store import OperatorStore


def database_url(settings: Settings) -> str:
    """DATABASE_URL if set, else the URL of TRACER_HOME's embedded Postgres, which it starts."""
    given = settings.database_url
    return libpq_url(given) if given else acquire(settings.home)


def existing_database_url(settings: Settings) -> str:
    """`database_url` for read-only commands, which never create a database.

    Raises:
        BadInput: TRACER_HOME has no database yet.
    """
    if not has_database(settings):
        raise BadInput(
            f"There is no Tracer database in {settings.home}. If you have one elsewhere, change to "
            "its folder, or set TRACER_HOME or DATABASE_URL. To make one here",
            "tracer up",
        )
    return database_url(settings)


def has_database(settings: Settings) -> bool:
    """Whether DATABASE_URL is set, or TRACER_HOME has an embedded Postgres; it need not run."""
    home = settings.home.resolve()
    return bool(settings.database_url) or (home.exists() and locate(home).data.exists())


def operator(kind: type[OperatorStore] = OperatorStore) -> OperatorStore:
    """Open a store; use it as a context manager.

    Raises:
        Unreachable: no database answers.
        BadInput: its schema is missing, older or newer; or TRACER_HOME has no database yet.
    """
    store = kind.connect(existing_database_url(load_settings()))
    store.who = user()
    return store


def user() -> str:
    """The operating system's name of the user, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user id without a name
        return f"uid {os.getuid()}"
