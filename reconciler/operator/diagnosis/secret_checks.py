"""Which steps lack a secret on this machine, where the workers are."""

from collections.abc import Iterable

from reconciler.contract.database import Row
from reconciler.contract.secrets import lacking_secrets
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.read_only import read_only_store

PLACE = "put it into .env, or into the environment of the workers, and restart them"


def missing_secrets(registered: Iterable[Row]) -> dict[str, list[str]]:
    """The secrets that are not set here, by step; on Modal, only Modal knows."""
    if load_settings().workers != "local":
        return {}
    missing = {row["step_name"]: lacking_secrets(row["env"]) for row in registered}
    return {step: names for step, names in missing.items() if names}


def says(missing: dict[str, list[str]]) -> str:
    """A sentence for people, without its full stop."""
    needs = "; ".join(f"{step} needs {', '.join(names)}" for step, names in missing.items())
    return f"{needs}, which is not set here: {PLACE}"


def secrets() -> str | Reason:
    """Every secret that a registered step cannot do without is set here."""
    with read_only_store() as store:
        registered = store.steps()
    if missing := missing_secrets(registered):
        return Reason(Code.SECRET_MISSING, says(missing))
    return f"all that are needed here: {sum(len(row['env']) for row in registered)}"
