"""What `tracer doctor` asks Modal: the account, the apps, and their functions."""

from collections.abc import Callable, Iterable

from cli.connect import operator
from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.spawners.modal_account import DEPLOY, check_account, deployed_functions
from reconciler.spawners.modal_lane import Place

SYNC = "tracer steps sync"


def _modal() -> str:
    return f"{check_account(load_settings().spawn_timeout_s)}, token accepted"


def _apps() -> str:
    return f"deployed: {', '.join(sorted(_deployed()))}"


def _functions() -> str:
    deployed, registered = _deployed(), _registered()
    if missing := sorted(registered - deployed_places(deployed)):
        raise TracerError(f"Not deployed: {listed(missing)}. Run `{SYNC}`, then `{DEPLOY}`.")
    if unknown := sorted(deployed_places(deployed) - registered):
        raise TracerError(
            f"Deployed, and not in the registry: {listed(unknown)}. Run `{SYNC}` where their code "
            f"is, or `{DEPLOY}` to replace them with what is here."
        )
    return f"{len(registered)} deployed, as the registry has them"


def _registered() -> set[Place]:
    with operator() as store:
        return {(row["app_name"], row["function_name"]) for row in store.steps()}


def _deployed() -> dict[str, set[str]]:
    """The functions of each app that the registry names."""
    timeout_s = load_settings().spawn_timeout_s
    apps = {app for app, _ in _registered()}
    if apps - {here := load_settings().modal_app}:
        raise TracerError(
            f"The registry has {', '.join(sorted(apps))}, and TRACER_MODAL_APP here is {here}: set "
            f"that, or run `{SYNC}`."
        )
    return {app: deployed_functions(app, timeout_s) for app in apps}


def deployed_places(deployed: dict[str, set[str]]) -> set[Place]:
    """Every function with its app."""
    return {(app, function) for app, functions in deployed.items() for function in functions}


def listed(places: Iterable[Place]) -> str:
    """Functions for a sentence."""
    return ", ".join(f"{function} (app {app})" for app, function in places)


CHECKS: dict[str, Callable[[], str]] = {"modal": _modal, "app": _apps, "functions": _functions}
