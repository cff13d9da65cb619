"""`tracer down`: stop the local stack."""

from cli.render import AsJson, answer
from reconciler.contract.settings import load_settings
from reconciler.local.leftovers import stop_leftovers
from reconciler.local.postgres.supervisor import stop as stop_postgres


def down(as_json: AsJson = False) -> None:
    """Stop all parts of the local stack that still run."""
    settings = load_settings()
    home = settings.home
    stopped = stop_leftovers(home, settings.grace_s)
    if stop_postgres(home):
        stopped.append("postgres")
    says = f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running."
    answer(as_json, {"stopped": stopped}, says)
