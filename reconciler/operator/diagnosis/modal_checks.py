"""What `tracer doctor` asks Modal: the account, the apps, and their functions."""

from collections.abc import Iterable

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis.doctor import Check, Fault
from reconciler.operator.diagnosis.read_only import looking
from reconciler.operator.diagnosis.rules.in_flight import SYNC
from reconciler.spawners.modal_account import (
    DEPLOY,
    NotDeployed,
    check_account,
    deployed_functions,
)
from reconciler.spawners.modal_lane import Place


def _modal() -> str:
    return f"{check_account(load_settings().spawn_timeout_s)}, token accepted"


def _apps() -> str:
    return f"deployed: {', '.join(sorted(_deployed()))}"


def _functions() -> str:
    deployed, registered = _deployed(), _registered()
    if missing := sorted(registered - deployed_places(deployed)):
        raise Fault(f"Not deployed: {listed(missing)}", f"{SYNC} && {DEPLOY}")
    if unknown := sorted(deployed_places(deployed) - registered):
        raise Fault(
            f"Deployed, and not in the registry: {listed(unknown)}; where their code is not here, "
            f"`{DEPLOY}` replaces them with what is",
            SYNC,
        )
    return f"{len(registered)} deployed, as the registry has them"


def _registered() -> set[Place]:
    with looking() as store:
        return {(row["app_name"], row["function_name"]) for row in store.steps()}


def _deployed() -> dict[str, set[str]]:
    """The functions of each app that the registry names."""
    timeout_s = load_settings().spawn_timeout_s
    apps = {app for app, _ in _registered()}
    if apps - {here := load_settings().modal_app}:
        raise Fault(
            f"The registry has {', '.join(sorted(apps))}, and TRACER_MODAL_APP here is {here}: set "
            "that, or let the registry follow",
            SYNC,
        )
    return {app: deployed_functions(app, timeout_s) for app in apps}


def is_deployed(app: str, function: str, timeout_s: float) -> bool | None:
    """Whether Modal has the function; None where it does not say."""
    try:
        return function in deployed_functions(app, timeout_s)
    except NotDeployed:
        return False
    except TracerError:
        return None


def deployed_places(deployed: dict[str, set[str]]) -> set[Place]:
    """Every function with its app."""
    return {(app, function) for app, functions in deployed.items() for function in functions}


def listed(places: Iterable[Place]) -> str:
    """Functions for a sentence."""
    return ", ".join(f"{function} (app {app})" for app, function in places)


CHECKS: dict[str, Check] = {"modal": _modal, "app": _apps, "functions": _functions}
