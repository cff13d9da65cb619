"""The reasons that no worker would take a call: on this machine, or on Modal."""

from collections.abc import Iterable, Iterator

from reconciler.contract.errors import DEPLOY_WORKERS
from reconciler.local.worker_host import HostFault, HostStatus
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.rules.step import SYNC

ModalFunction = tuple[str, str]  # the app's name, and the function's
HOST_FAULTS = {
    HostFault.NOT_RUNNING: (Code.NO_WORKER_HOST, "No worker host is running here"),
    HostFault.SILENT: (Code.WORKER_HOST_SILENT, "The worker host here does not answer"),
    HostFault.OUTDATED: (
        Code.WORKER_HOST_OUTDATED,
        "The worker host here is of another version of Tracer",
    ),
    HostFault.STRANGER: (
        Code.WORKER_HOST_STRANGER,
        "Another user has the place of the worker host's socket: no call is sent there",
    ),
}


def host_faults(host: HostStatus, steps: Iterable[str], fix: str) -> Iterator[Reason]:
    """The local worker host does not answer, or lacks one of `steps`."""
    if host.fault:
        yield Reason(*HOST_FAULTS[host.fault], fix)
    for step in steps:
        if step not in host.steps:
            says = f"The worker host here does not have the step {step}"
            yield Reason(Code.WORKER_HOST_LACKS_STEP, says, fix)


def function_missing(app: str, function: str) -> Reason:
    """Modal does not have the step's function."""
    says = f"The function {function} of the app {app} is not deployed on Modal"
    return Reason(Code.FUNCTION_NOT_DEPLOYED, says, DEPLOY_WORKERS)


def functions_differ(
    deployed: set[ModalFunction], registered: set[ModalFunction]
) -> Iterator[Reason]:
    """Modal and the registry have different functions."""
    if missing := registered - deployed:
        says = f"Not deployed: {_listed(missing)}"
        yield Reason(Code.FUNCTION_NOT_DEPLOYED, says, f"{SYNC} && {DEPLOY_WORKERS}")
    if unknown := deployed - registered:
        says = f"Deployed, and not in the registry: {_listed(unknown)}; a deploy from here removes "
        says += "the functions whose code is not here"
        yield Reason(Code.FUNCTION_NOT_REGISTERED, says, SYNC)


def _listed(functions: Iterable[ModalFunction]) -> str:
    return ", ".join(f"{function} (app {app})" for app, function in sorted(functions))
