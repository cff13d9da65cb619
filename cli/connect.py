"""From the environment to an open store."""

import getpass
import os

from reconciler.contract.operate import OperatorStore
from reconciler.contract.settings import Settings, load_settings
from reconciler.embedded import acquire


def database_url(settings: Settings) -> str:
    """DATABASE_URL, else the embedded Postgres of this TRACER_HOME, started when needed."""
    return settings.database_url or acquire(settings.home)


def operator() -> OperatorStore:
    """An open store; use it as a context manager.

    Raises:
        Unreachable: no database answers.
        BadInput: its schema is missing, older or newer.
    """
    store = OperatorStore.connect(database_url(load_settings()))
    store.who = user()
    return store


def user() -> str:
    """Who speaks, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"uid {os.getuid()}"
