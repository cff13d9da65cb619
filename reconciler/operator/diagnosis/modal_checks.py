"""Doctor's checks of Modal: the account, the apps and their functions."""

from reconciler.contract.errors import Unreachable
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.diagnosis.rules import workers
from reconciler.operator.diagnosis.rules.step import SYNC
from reconciler.operator.diagnosis.rules.workers import ModalFunction
from reconciler.operator.read_only import read_only_store
from reconciler.spawners.modal_account import check_account, deployed_functions


def account() -> str | Reason:
    """Modal answers, and accepts the token."""
    try:
        return f"{check_account(load_settings().spawn_timeout_s)}, token accepted"
    except Unreachable as error:
        return Reason(Code.MODAL_UNREACHABLE, error.says, error.fix)


def app() -> str | Reason:
    """The registry names the app in TRACER_MODAL_APP, and Modal has it."""
    apps = {app for app, _ in _registered()}
    if apps - {here := load_settings().modal_app}:
        says = f"The registry has {', '.join(sorted(apps))}, and TRACER_MODAL_APP here is {here}"
        says += ": change the setting, or write it to the registry"
        return Reason(Code.MODAL_APP_DIFFERS, says, SYNC)
    for name in apps:
        deployed_functions(name, load_settings().spawn_timeout_s)
    return f"deployed: {', '.join(sorted(apps))}"


def functions() -> str | Reason:
    """Modal and the registry have the same functions."""
    registered, timeout_s = _registered(), load_settings().spawn_timeout_s
    deployed = {
        (name, function)
        for name in {name for name, _ in registered}
        for function in deployed_functions(name, timeout_s)
    }
    well = f"{len(registered)} deployed, as in the registry"
    return next(workers.functions_differ(deployed, registered), well)


def _registered() -> set[ModalFunction]:
    with read_only_store() as store:
        return {(row["app_name"], row["function_name"]) for row in store.steps()}
