"""`tracer modal deploy`, `tracer prefect deploy`: the services' own commands, on Tracer's code."""

import subprocess
from collections.abc import Mapping

import typer

from reconciler.contract.settings import load_settings
from reconciler.local.python import PYTHON, safe_environment
from reconciler.prefect.api import find_server
from workers.runtime.loading import load_steps

modal = typer.Typer(help="The workers on Modal.", no_args_is_help=True)
prefect = typer.Typer(help="The loop on Prefect.", no_args_is_help=True)


@modal.command(
    "deploy",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Example: tracer modal deploy --env main",
)
def deploy_workers(context: typer.Context) -> None:
    """Deploy a function per step; options are those of `modal deploy`.

    The packages that TRACER_STEPS names are shipped too.
    """
    load_steps()  # what cannot be imported is a sentence here, and a traceback there
    run(load_settings().environment(), "workers.deploy", *context.args)


@prefect.command("deploy", epilog="Example: tracer prefect deploy")
def deploy_loop() -> None:
    """Deploy the loop and its schedule.

    To deploy it otherwise, in a pool of another name perhaps, run `prefect deploy --all` on a
    `prefect.yaml` of your own: `tracer init` writes one.
    """
    api_url = find_server(load_settings()).api_url
    run({"PREFECT_API_URL": api_url, "DO_NOT_TRACK": "1"}, "reconciler.prefect.deploy")


def run(variables: Mapping[str, str], module: str, *arguments: str) -> None:
    """Run a module, and end as it ends."""
    environment = {**safe_environment(), **variables}
    done = subprocess.run([*PYTHON, "-m", module, *arguments], env=environment, check=False)
    raise typer.Exit(done.returncode)
