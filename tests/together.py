"""Which tests stay together when several processes run them, and which begin first."""

from xdist.scheduler import LoadScopeScheduling

# A test of these files takes two minutes. Begun last, all but one process would wait for it.
EARLY = (
    "system/test_interleavings.py",
    "system/test_crashes.py",
    "system/test_any_order.py",
)
# Tests of one line share a service. The longest line begins first.
TOGETHER = (
    ("reconciler/prefect/test_schedule.py",),
    ("system/test_modal_run.py",),
    ("system/test_chaos.py",),
    ("reconciler/test_flow.py",),
    ("system/test_wheel.py",),
    (
        "operator/diagnosis/test_doctor_modal.py",
        "operator/diagnosis/test_explain_observers.py",
        "spawners/test_modal_dispatch.py",
        "spawners/test_modal_faults.py",
        "controlplane/test_faults.py",
        "controlplane/test_speaking.py",
    ),
    ("operator/report/test_report.py", "operator/test_read_only.py", "cli/test_help.py"),
    ("workers/host/test_host.py",),
    ("reconciler/contract/test_plans.py",),
    ("system/test_roles_stack.py",),
    ("controlplane/test_containers.py",),
    ("reconciler/local/test_postgres.py",),
    ("system/pooler/test_pooler.py",),
    ("system/pooler/test_pooler_crowd.py",),
    ("reconciler/schema/test_roles_owner.py",),
)
# Some tests of these files take long too.
SOON = (
    "workers/host/test_poison.py",
    "workers/host/test_crew.py",
    "workers/host/test_stop.py",
    "workers/host/test_descriptors.py",
    "workers/host/test_unloaded.py",
    "workers/host/test_shares.py",
    "reconciler/local/test_worker_host.py",
    "reconciler/contract/test_passwords.py",
    "system/test_restarts.py",
    "system/test_money_schedules.py",
    "cli/test_bench.py",
    "cli/test_commands.py",
    "cli/test_outcome.py",
    "cli/test_process.py",
)


class Together(LoadScopeScheduling):
    """Tests of one line go to one process; each of the others goes to the first that is free."""

    def _split_scope(self, nodeid: str) -> str:
        line = place(nodeid) - len(EARLY)
        return str(line) if 0 <= line < len(TOGETHER) else nodeid


def place(nodeid: str) -> int:
    """Where its file is in EARLY, TOGETHER and then SOON; behind them for others."""
    file, places = nodeid.partition("::")[0], (*EARLY, *TOGETHER, *SOON)
    return next((n for n, files in enumerate(places) if file.endswith(files)), len(places))
