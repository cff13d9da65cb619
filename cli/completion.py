"""Completes names in the shell: of batches, clients, providers, steps; if a database runs."""

import re
from contextlib import suppress

import psycopg

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.local.postgres.supervisor import is_running
from reconciler.operator.connect import database_url
from reconciler.operator.money.clients import read_clients
from reconciler.operator.read_only import ReadOnlyStore
from reconciler.operator.sql.money import PROVIDER_NAMES
from reconciler.operator.store import OperatorStore


def batch_names(incomplete: str) -> list[str]:
    """The batches whose names begin so, the newest first."""
    with suppress(TracerError, psycopg.Error), _store() as store:
        return [name for name in store.batch_names() if name.startswith(incomplete)]
    return []


def client_names(incomplete: str) -> list[str]:
    """The clients that batches name, and whose names begin so."""
    with suppress(TracerError, psycopg.Error), _store() as store:
        return [name for name in read_clients(store) if name.startswith(incomplete)]
    return []


def provider_names(incomplete: str) -> list[str]:
    """The providers whose names begin so."""
    with suppress(TracerError, psycopg.Error), _store() as store:
        names = [row["name"] for row in store.rows(PROVIDER_NAMES)]
        return [name for name in names if name.startswith(incomplete)]
    return []


def step_names(incomplete: str) -> list[str]:
    """The registered steps whose names begin so; in a blueprint, the last is completed."""
    last = re.split(r"[,|]", incomplete)[-1]
    before = incomplete.removesuffix(last)
    with suppress(TracerError, psycopg.Error), _store() as store:
        names = [row["step_name"] for row in store.steps()]
        return [before + name for name in names if name.startswith(last)]
    return []


def _store() -> OperatorStore:
    """Connect to a running Postgres only: completing a word must not start one."""
    settings = load_settings()
    if not settings.database_url and not is_running(settings.home):
        raise TracerError("No Postgres runs.")
    return ReadOnlyStore.connect(database_url(settings), max_size=1)
