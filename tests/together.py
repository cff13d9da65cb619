"""Which tests stay together when several processes run them, and which begin first."""

import pytest
from xdist.scheduler import LoadScopeScheduling

# In these files tests share a service, or take long. The longest begin first.
TOGETHER = (
    "reconciler/prefect/test_schedule.py",
    "system/test_modal_run.py",
    "system/test_chaos.py",
    "reconciler/test_flow.py",
    "system/test_wheel.py",
    "workers/host/test_host.py",
    "reconciler/contract/test_plans.py",
    "system/test_roles_stack.py",
    "standins/controlplane/test_containers.py",
    "reconciler/local/test_postgres.py",
    "system/pooler/test_pooler.py",
    "system/pooler/test_pooler_crowd.py",
    "reconciler/schema/test_roles_owner.py",
)


class Together(LoadScopeScheduling):
    """Tests of these files go to one process; each of the others goes to the first that is free."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith(TOGETHER) else nodeid


def place(item: pytest.Item) -> int:
    """Where in TOGETHER its file is; behind it for others."""
    file = item.nodeid.partition("::")[0]
    return next((n for n, name in enumerate(TOGETHER) if file.endswith(name)), len(TOGETHER))
