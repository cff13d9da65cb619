"""Clients: names that batches have, so that one cap may limit all that a client costs."""

import re

from reconciler.contract.caps import CLIENT_NAME
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.operator.sql import money as queries
from reconciler.operator.store import OperatorStore


def read_client(given: str) -> str:
    """The name of a client.

    Raises:
        BadInput: it is none.
    """
    if not re.fullmatch(CLIENT_NAME, given):
        says = "is not the name of a client: it has up to 63 of a-z, 0-9, `.`, `_` and `-`"
        raise BadInput(f"{given!r} {says}.")
    return given


def read_clients(store: OperatorStore) -> list[str]:
    """The clients that batches name."""
    return [row["client"] for row in store.rows(queries.CLIENTS)]


def not_seen(store: OperatorStore, client: str) -> str | None:
    """A sentence if no batch names the client: it may be misspelt."""
    names = read_clients(store)
    if client in names:
        return None
    return f"No batch is of the client {client!r} yet.{did_you_mean(client, names)}"
