"""`tracer modal deploy` and `tracer prefect deploy`: run the services' own deploy commands."""

import subprocess
from collections.abc import Mapping

import typer

from reconciler.contract.settings import load_settings
from reconciler.local.python import PYTHON, safe_environment
from reconciler.prefect.api import find_server
from workers.runtime.loading import load_steps

modal = typer.Typer(help="Deploy the workers to Modal.", no_args_is_help=True)
prefect = typer.Typer(help="Deploy the loop to Prefect.", no_args_is_help=True)


@modal.command(
    "deploy",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Example: tracer modal deploy --env main",
)
def deploy_workers(context: typer.Context) -> None:
    """Deploy one Modal function per step; it takes the options of `modal deploy`.

    The packages that TRACER_STEPS names are shipped too.
    """
    # Modal's client takes 0.7 s to import.
    from reconciler.spawners.modal_faults import NoToken, has_token

    load_steps()  # an import error is a sentence here; in `modal deploy` it is a traceback
    if not has_token():
        raise NoToken
    run(load_settings().environment(), "workers.deploy", *context.args)


@prefect.command("deploy", epilog="Example: tracer prefect deploy")
def deploy_loop() -> None:
    """Deploy the loop and its schedule to Prefect.

    To change the deployment, for example its pool, run `prefect deploy --all` on a `prefect.yaml`
    of your own: `tracer init` writes one.
    """
    api_url = find_server(load_settings()).api_url
    run({"PREFECT_API_URL": api_url, "DO_NOT_TRACK": "1"}, "reconciler.prefect.deploy")


def run(variables: Mapping[str, str], module: str, *arguments: str) -> None:
    """Run a Python module, and exit with its code."""
    environment = {**safe_environment(), **variables}
    done = subprocess.run([*PYTHON, "-m", module, *arguments], env=environment, check=False)
    raise typer.Exit(done.returncode)
