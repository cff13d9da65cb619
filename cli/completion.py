"""Completes names of batches and steps in the shell, if a database is running already."""

from contextlib import suppress

import psycopg

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.local.postgres.supervisor import is_running
from reconciler.operator.connect import database_url
from reconciler.operator.read_only import ReadOnlyStore
from reconciler.operator.store import OperatorStore


def batch_names(incomplete: str) -> list[str]:
    """The batches whose names begin so, the newest first."""
    with suppress(TracerError, psycopg.Error), _store() as store:
        return [name for name in store.batch_names() if name.startswith(incomplete)]
    return []


def step_names(incomplete: str) -> list[str]:
    """The registered steps whose names begin so; in a list with commas, the last is completed."""
    before, comma, last = incomplete.rpartition(",")
    with suppress(TracerError, psycopg.Error), _store() as store:
        names = [row["step_name"] for row in store.steps()]
        return [before + comma + name for name in names if name.startswith(last)]
    return []


def _store() -> OperatorStore:
    """Connect to a running Postgres only: completing a word must not start one."""
    settings = load_settings()
    if not settings.database_url and not is_running(settings.home):
        raise TracerError("No Postgres runs.")
    return ReadOnlyStore.connect(database_url(settings), max_size=1)
