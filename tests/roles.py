"""A database with roles, and all three sides of it, each under its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.contract.database import connect
from reconciler.contract.grants import CONDUCTOR, OPERATOR, WORKER
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.operator.store import OperatorStore
from reconciler.schema.roles import make_roles
from tests.world import World


def as_role(url: str, role: str) -> str:
    """The session's server lets everyone in who comes through its socket."""
    return url.replace("postgresql://tracer", f"postgresql://{role}", 1)


def granted(url: str) -> str:
    """The database of `url`, with roles."""
    with connect(url) as connection:
        make_roles(connection)
    return url


@dataclass(kw_only=True)
class RoleWorld(World):
    """A world in which nobody may do more than its side needs; `sql` is the owner's."""

    owner: OperatorStore

    def sql(self, query: str, **values: Any) -> list[dict[str, Any]]:
        return self.owner.rows(query, **values)


@contextmanager
def role_world(url: str) -> Iterator[RoleWorld]:
    with (
        OperatorStore.connect(granted(url)) as owner,
        Store.connect(as_role(url, CONDUCTOR)) as store,
        WorkerStore.connect(as_role(url, WORKER), max_size=4) as worker,
        OperatorStore.connect(as_role(url, OPERATOR)) as operator,
    ):
        yield RoleWorld(store, worker, operator, owner=owner)
