"""From the environment to an open store."""

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
    return OperatorStore.connect(database_url(load_settings()))
