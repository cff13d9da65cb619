"""`tracer`: the commands in the order of their use, and the exit code of each error."""

import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from cli import (
    approve,
    batches,
    bench,
    blueprint,
    cancel,
    caps,
    db,
    delete,
    demo,
    deploy,
    doctor,
    down,
    explain,
    export,
    history,
    interval,
    interval_tune,
    orders,
    pause,
    plan,
    priority,
    providers,
    reconcile,
    reparse,
    report,
    rerun,
    retry,
    seed,
    spend,
    steps,
    try_step,
    up,
    wait,
    workers,
)
from cli.init.command import init
from cli.inspect import command
from cli.render import out, say
from reconciler.contract.errors import BadInput, TracerError
from reconciler.contract.outage import first_line
from reconciler.contract.session import ENDED_ALONE, TakesNoWrites

EXIT_CODES = (
    "Exit codes: 0 done, 1 the work failed, 2 wrong usage or bad input, 3 a service that is needed "
    "is not reachable, 130 ended by Ctrl-C."
)
app = typer.Typer(
    name="tracer",
    help="Take batches of companies through a blueprint of enrichment steps.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version, and exit."""
    if wanted:
        out.print(f"tracer {metadata.version('tracer')}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=show_version),
    ] = False,
) -> None:
    """The options of `tracer` itself."""


def put(panel: str, name: str, command: Callable[..., None], example: str, **settings: Any) -> None:
    """Add a command to a panel of the help, with an example that a test runs."""
    shown: dict[str, Any] = {"rich_help_panel": panel, "epilog": f"Example: {example}"}
    app.command(name, **shown, **settings)(command)


START, SEE, STEER, MONEY, TUNE = "Start here", "See and ask", "Steer", "Money", "Run and tune"
put(START, "demo", demo.demo, "tracer demo --companies 20")
put(START, "init", init, "tracer init leads")
put(START, "up", up.up, "tracer up")
put(START, "plan", plan.plan, "tracer plan companies.csv --blueprint normalize,step_a,step_b")
put(START, "seed", seed.seed, "tracer seed companies.csv --blueprint normalize,step_a,step_b")
put(START, "try", try_step.try_, "tracer try normalize companies.csv --limit 3")
put(START, "down", down.down, "tracer down")
put(SEE, "batches", batches.batches, "tracer batches")
put(SEE, "inspect", command.inspect, "tracer inspect companies --watch")
put(SEE, "blueprint", blueprint.blueprint, "tracer blueprint companies")
put(SEE, "wait", wait.wait, "tracer wait companies --timeout 2h")
put(SEE, "explain", explain.explain, "tracer explain companies acme.com")
put(SEE, "export", export.export, "tracer export companies --format csv -o enriched.csv")
put(SEE, "report", report.report, "tracer report companies -o report.html")
put(STEER, "approve", approve.approve, "tracer approve companies --yes")
put(STEER, "rerun", rerun.rerun, "tracer rerun companies --step step_a --yes")
put(STEER, "reparse", reparse.reparse, "tracer reparse companies --step step_a --yes")
put(STEER, "retry", retry.retry, "tracer retry companies --step step_a --yes")
put(STEER, "pause", pause.pause, "tracer pause companies")
put(STEER, "resume", pause.resume, "tracer resume companies")
# A priority below 0 looks like an option.
negative = {"ignore_unknown_options": True}
put(STEER, "priority", priority.priority, "tracer priority companies 10", context_settings=negative)
put(STEER, "cancel", cancel.cancel, "tracer cancel companies --yes")
put(STEER, "delete", delete.delete, "tracer delete companies --yes")
put(STEER, "history", history.history, "tracer history companies")
app.add_typer(caps.app, name="caps", rich_help_panel=MONEY)
app.add_typer(orders.app, name="orders", rich_help_panel=MONEY)
put(MONEY, "spend", spend.spend, "tracer spend --by step")
app.add_typer(providers.app, name="providers", rich_help_panel=MONEY)
app.add_typer(steps.app, name="steps", rich_help_panel=TUNE)
app.add_typer(interval.app, name="interval", rich_help_panel=TUNE)
interval.app.command("tune", epilog="Example: tracer interval tune --p95 2")(interval_tune.tune)
put(TUNE, "reconcile", reconcile.reconcile, "tracer reconcile --until-done")
app.add_typer(db.app, name="db", rich_help_panel=TUNE)
put(TUNE, "workers", workers.workers, "tracer workers")
app.add_typer(deploy.modal, name="modal", rich_help_panel=TUNE)
app.add_typer(deploy.prefect, name="prefect", rich_help_panel=TUNE)
put(TUNE, "doctor", doctor.doctor, "tracer doctor")
put(TUNE, "bench", bench.bench, "tracer bench --companies 2000 --steps 2")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code: see `EXIT_CODES`."""
    try:
        check_working_directory()
        app(list(arguments), prog_name="tracer")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except TracerError as error:
        say(str(error))
        return error.exit_code
    except psycopg.OperationalError as error:
        return _database_error(error)
    except psycopg.Error as error:
        say(f"The database refused it: {first_line(error)}.")
        return 1
    except UnicodeEncodeError:
        say("An argument or an environment variable is not UTF-8: check the locale.")
        return 2
    except OSError as error:
        say(f"{error.filename or 'Output'}: {error.strerror or error}.")
        if not error.filename:
            sys.stdout = None  # Python would write the rest at its end, in vain
        return 1
    return 0


def check_working_directory() -> None:
    """Refuse a working directory that is gone: no command could name what it reads and writes.

    Raises:
        BadInput: it was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise BadInput("The working directory was deleted: change to another one.") from error


def _database_error(error: psycopg.OperationalError) -> int:
    """Report a time-out in the database (exit code 1), or its loss (exit code 3)."""
    if isinstance(error, TakesNoWrites):
        say(str(error))
        return 3
    if isinstance(error, ENDED_ALONE):
        says = f"The database ended the statement: {first_line(error)}."
        say(f"{says} Try again, or raise that time-out.")
        return 1
    say(f"The database went away: {first_line(error)}. Run the command again when it is back.")
    return 3
